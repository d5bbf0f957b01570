"""A float graph with quantisers becomes exact integers: scales move into thresholds (Umuroglu and Jahre, 2017).

A quantiser's codes are multiplied as they are; what follows the exact sum up to the next quantiser (scale, bias, batch
norm, activation) becomes that quantiser's thresholds. What has no integer form stays float, between its codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bitkiln.ir import Builder, Float, Graph, Int, Node, TensorType, code_ranges, storage_dtype
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Dequantise,
    Expand,
    Flip,
    Linear,
    MaxPool2d,
    Mul,
    MultiThreshold,
    Op,
    Pad,
    PadMode,
    Permute,
    QuantiseScaled,
    Relu,
    Requantise,
    Reshape,
    Roll,
    ScaleShift,
    Slice,
    SumPool2d,
    Take,
    TopK,
)

from ._chains import AFFINE, Chain, Step, affine, is_elementwise
from ._quantisable import pool_obstacle
from ._signs import turn_signs
from ._thresholds import Steps, float_steps, integer_steps
from .grids import Grid, codes_on

_MOVES = (Expand, Flip, Permute, Reshape, Roll, Slice, Take)
_MAX_ALIGNMENT = 16  # bits that the points of two operands of an addition may differ by
_MAX_SUM_BITS = 35  # with the alignment, sums stay well within the integers of 64-bit floats
_MANTISSA_BITS = 24  # of a 32-bit float


def streamline(graph: Graph, grids: Mapping[int, Grid]) -> Graph:
    """Return the graph with integers wherever quantisers allow it.

    `graph` has floats, `QuantiseScaled` and `MultiThreshold` on floats and `Dequantise` of their results. `grids` gives
    the grid of constants that a quantiser made, by the address of their data. Keeps the codes of every quantiser,
    but where a sum lies within float rounding of a step: sums are exact here, and were rounded in `graph`.
    """
    return turn_signs(_Streamline(graph, grids).run())


@dataclass
class _Streamline:
    """Every value of the old graph is a value of the new one (`values`), a chain on top of one (`chains`), or both."""

    old: Graph
    grids: Mapping[int, Grid]
    build: Builder = field(init=False)
    values: dict[str, str] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    weights: dict[str, tuple[str, Tensor] | None] = field(default_factory=dict)

    def run(self) -> Graph:
        self.build = Builder(self.old.name)
        for value in self.old.inputs:
            self.values[value.name] = self.build.input(value.name, value.type)
            if value.type.is_float:
                self.chains[value.name] = Chain(self.values[value.name], len(value.type.shape), ())
        for node in self.old.nodes:
            self._node(node)
        return self.build.graph([self._value(name) for name in self.old.outputs])

    def _node(self, node: Node) -> None:
        chain = self._integer_chain(node) or self._extended(node)
        codes = self._thresholded(node) or self._top_k(node) if chain is None else None
        if chain is not None:
            self.chains[node.name] = chain
        elif codes is not None:
            self.values[node.name] = codes
        else:
            args = tuple(self._value(arg) for arg in node.args)
            self.values[node.name] = self.build.add(node.op, args, node.name, node.loc)

    def _extended(self, node: Node) -> Chain | None:
        """The chain of an operation on single elements."""
        if isinstance(node.op, Dequantise):
            x = self._value(node.args[0])
            return Chain(x, len(node.type.shape), (Step(node.op, (None,), node.name, node.loc),))
        active = [arg for arg in node.args if arg not in self.old.const]
        if not is_elementwise(node.op) or len(active) != 1 or active[0] not in self.chains:
            return None
        if self.old.types[active[0]].shape != node.type.shape:
            return None
        chain = self.chains[active[0]].then(self._step(node, active[0]))
        return None if chain.channel_axis == 0 else chain

    def _step(self, node: Node, active: str) -> Step:
        args = tuple(None if arg == active else self.old.const[arg].data for arg in node.args)
        return Step(node.op, args, node.name, node.loc)

    def _integer_chain(self, node: Node) -> Chain | None:
        """The chain of an operation that is done on what the chain of its argument begins with."""
        match node.op:
            case Linear() | Conv2d():
                return self._product(node)
            case MaxPool2d():
                return self._moved(node, must_rise=True)
            case Pad(_, PadMode.CONSTANT, 0.0) if self._codes(node.args[0]) is not None:
                return self._moved(node, must_rise=False)
            case AvgPool2d():
                return self._mean(node, node.op)
            case Add():
                return self._sum(node)
            case Concat():
                return self._concat(node)
            case op if isinstance(op, _MOVES):
                return self._moved(node, must_rise=False)
            case _:
                return None

    def _codes(self, name: str) -> tuple[str, float] | None:
        """Codes that a float value is a positive multiple of, and the factor; points of the format do not count."""
        chain = self.chains.get(name)
        if chain is None:
            return None
        scale = chain.scale()
        if scale is not None:
            return chain.base, scale
        last = chain.steps[-1:]
        inner = replace(chain, steps=chain.steps[:-1])
        scale = inner.scale()
        if scale is None or not isinstance(last[0].op, Relu):
            return None
        base = self.build.add(Relu(), (inner.base,), last[0].name, last[0].loc)
        self.chains[name] = replace(inner, base=base)
        return base, scale

    def _number(self, name: str) -> Int:
        number = self.build.types[name].number
        assert isinstance(number, Int)
        return number

    def _product(self, node: Node) -> Chain | None:
        """Codes times codes, then scales and bias."""
        found, weight = self._codes(node.args[0]), self._weight(node)
        bias = [self.old.const[arg].data for arg in node.args[2:] if arg in self.old.const]
        if found is None or weight is None or len(bias) != len(node.args) - 2:
            return None
        behind = [1] * (len(node.type.shape) - 2) if isinstance(node.op, Conv2d) else []
        scales = weight[1].to(torch.float64) * found[1]
        total = self.build.add(node.op, (found[0], weight[0]), node.name, node.loc)
        chain = self._dequantised(total, node)
        if bool((scales != 1).any()):
            chain = chain.then(_constant_step(Mul(), scales.reshape(-1, *behind), node))
        return chain.then(_constant_step(Add(), bias[0].reshape(-1, *behind), node)) if bias else chain

    def _weight(self, node: Node) -> tuple[str, Tensor] | None:
        """Codes of a layer's weights, and the scales of its output channels that are left beside their points."""
        const = self.old.const.get(node.args[1])
        grid = self.grids.get(const.data.data_ptr()) if const is not None else None
        if const is None or grid is None:
            return None
        if const.name not in self.weights:
            found = codes_on(const, grid, isinstance(node.op, Conv2d) or len(node.type.shape) == 2)
            self.weights[const.name] = found and (
                self.build.constant(const.name, found[0].type, found[0].data),
                found[1],
            )
        return self.weights[const.name]

    def _dequantised(self, codes: str, node: Node) -> Chain:
        op = Dequantise(self._number(codes).fracs)
        return Chain(codes, len(node.type.shape), (Step(op, (None,), f"{node.name}.value", node.loc),))

    def _moved(self, node: Node, must_rise: bool) -> Chain | None:
        """Move what the chain begins with, if the chain treats all elements alike; a max pool keeps channels apart."""
        chain = self.chains.get(node.args[0])
        if chain is None or (must_rise and not chain.is_rising):
            return None
        if not chain.is_uniform and not (isinstance(node.op, MaxPool2d) and chain.channel_axis == 1):
            return None
        base = self.build.add(node.op, (chain.base,), node.name, node.loc)
        steps = chain.steps if not chain.is_uniform else tuple(step.for_any_rank() for step in chain.steps)
        return Chain(base, len(node.type.shape), steps)

    def _mean(self, node: Node, op: AvgPool2d) -> Chain | None:
        """An exact sum of the codes, divided together with their scale."""
        found = self._codes(node.args[0])
        if found is None or any(pool_obstacle(self.old, node, op)):
            return None
        window = SumPool2d(op.kernel, op.stride, op.padding, op.ceil_mode)
        total = self.build.add(window, (found[0],), node.name, node.loc)
        scale = torch.tensor(found[1] / (op.divisor or op.kernel[0] * op.kernel[1]), dtype=torch.float64)
        return self._dequantised(total, node).then(_constant_step(Mul(), scale, node))

    def _sum(self, node: Node) -> Chain | None:
        """The exact sum of codes, their points aligned; scales that differ are multiplied with first."""
        found = [codes for arg in node.args if (codes := self._codes(arg))]
        if len(found) != 2:
            return None
        scale = found[0][1]
        operands = tuple(codes for codes, _ in found)
        if found[1][1] != scale:
            scaled = [self._times_scale(codes, factor, node) for codes, factor in found]
            operands, scale = tuple(codes for codes in scaled if codes is not None), 1.0
        if len(operands) != 2 or max(self._number(codes).bits for codes in operands) > _MAX_SUM_BITS:
            return None
        points = [self._number(codes).fracs[0] for codes in operands]
        if abs(points[0] - points[1]) > _MAX_ALIGNMENT:
            return None
        op = Add((max(points) - points[0], max(points) - points[1]))
        chain = self._dequantised(self.build.add(op, operands, node.name, node.loc), node)
        step = _constant_step(Mul(), torch.tensor(scale, dtype=torch.float64), node)
        return chain if scale == 1 else chain.then(step)

    def _times_scale(self, codes: str, scale: float, node: Node) -> str | None:
        """Codes that stand for what `codes` times `scale` does, which is exact as scales are 32-bit floats."""
        mantissa, exponent = math.frexp(scale)
        multiplier = int(mantissa * (1 << _MANTISSA_BITS))
        if multiplier != mantissa * (1 << _MANTISSA_BITS):
            return None
        zeros = (multiplier & -multiplier).bit_length() - 1
        multiplier, point = multiplier >> zeros, _MANTISSA_BITS - exponent - zeros
        x = self._number(codes)
        if not 0 <= point <= 2 * _MANTISSA_BITS:
            return None
        number = Int.holding(x.lo * multiplier, x.hi * multiplier, x.fracs[0] + point, signed=x.signed)
        op = Requantise(number, (0,), multiplier, point)
        return self.build.add(op, (codes,), f"{node.name}.scaled", node.loc)

    def _concat(self, node: Node) -> Chain | None:
        """Codes of one format and scale."""
        found = [codes for arg in node.args if (codes := self._codes(arg))]
        formats = {(self._number(codes), scale) for codes, scale in found}
        if len(found) != len(node.args) or len(formats) != 1:
            return None
        base = self.build.add(node.op, tuple(codes for codes, _ in found), node.name, node.loc)
        return replace(self.chains[node.args[0]], base=base)

    def _top_k(self, node: Node) -> str | None:
        """The largest of what the chain begins with, if the chain keeps its order."""
        chain = self.chains.get(node.args[0])
        if not isinstance(node.op, TopK) or chain is None or not chain.steps:
            return None
        found = self._codes(node.args[0])
        return self.build.add(node.op, (found[0],), node.name, node.loc) if found else None

    def _thresholded(self, node: Node) -> str | None:
        """A quantiser and the chain before it, as thresholds."""
        chain = self.chains.get(node.args[0])
        if not isinstance(node.op, QuantiseScaled | MultiThreshold) or chain is None or not chain.steps:
            return None
        quantiser = self._step(node, node.args[0])
        axis = chain.then(quantiser).channel_axis
        if axis == 0:
            return None
        channels = 1 if axis is None else node.type.shape[axis]
        if self.build.types[chain.base].is_float:
            steps = float_steps(chain, quantiser, channels)
        else:
            partial = Graph("partial", tuple(self.build.inputs), tuple(self.build.consts), tuple(self.build.nodes), ())
            steps = integer_steps(chain, quantiser, channels, *code_ranges(partial)[chain.base])
        return None if steps is None else self._multi_threshold(node, node.op, chain.base, axis or 1, steps)

    def _multi_threshold(
        self, node: Node, op: QuantiseScaled | MultiThreshold, base: str, axis: int, steps: Steps
    ) -> str:
        x, data = self.build.types[base].number, steps.thresholds
        number: Float | Int = Float(32)
        if isinstance(x, Int):
            point_axis = None if x.axis is None else 0
            number = Int.holding(int(data.min()), int(data.max()), x.frac, point_axis)
            if point_axis is not None:
                data = data.expand(len(x.fracs), -1).contiguous()
        type_ = TensorType(tuple(data.shape), number)
        thresholds = self.build.constant(f"{node.name}.thresholds", type_, data.to(storage_dtype(number)))
        result = MultiThreshold(op.number, steps.base, steps.step, axis)
        return self.build.add(result, (base, thresholds), node.name, node.loc)

    def _value(self, name: str) -> str:
        """The value of the new graph for one of the old."""
        if name not in self.values:
            const = self.old.const.get(name)
            if const is not None:
                self.values[name] = self.build.constant(name, const.type, const.data)
            else:
                self.values[name] = self._written_out(self.chains[name])
        return self.values[name]

    def _written_out(self, chain: Chain) -> str:
        """The operations of a chain, from the last that is there already."""
        steps, value = list(chain.steps), chain.base
        for i in reversed(range(len(steps))):
            if steps[i].name in self.values:
                steps, value = steps[i + 1 :], self.values[steps[i].name]
                break
        if steps and isinstance(steps[0].op, Dequantise):
            count = next((i for i, step in enumerate(steps) if not isinstance(step.op, AFFINE)), len(steps))
            value = self._affine(replace(chain, steps=tuple(steps[:count])), value)
            steps = steps[count:]
        for step in steps:
            value = self._emit(step.op, value, step, step.args)
        return value

    def _affine(self, chain: Chain, codes: str) -> str:
        """Dequantise, then multiply and add once."""
        first, last = chain.steps[0], chain.steps[-1]
        value = self._emit(first.op, codes, first, (None,))
        axis = replace(chain, steps=chain.steps[1:]).channel_axis
        shape = [1] * chain.rank
        if axis is not None:
            shape[axis] = self.build.types[codes].shape[axis]
        factor, offset = (data.to(torch.float32) for data in affine(chain.steps[1:], tuple(shape)))
        if axis == 1:
            return self._emit(ScaleShift(), value, last, (None, factor.reshape(-1), offset.reshape(-1)))
        behind = [1] if axis is None else [-1, *[1] * (chain.rank - axis - 1)]
        if bool((factor != 1).any()):
            last = replace(last, name=f"{last.name}.factor") if bool((offset != 0).any()) else last
            value = self._emit(Mul(), value, last, (None, factor.reshape(behind)))
        if bool((offset != 0).any()):
            value = self._emit(Add(), value, chain.steps[-1], (None, offset.reshape(behind)))
        return value

    def _emit(self, op: Op, value: str, step: Step, args: tuple[Tensor | None, ...]) -> str:
        names = []
        for arg in args:
            if arg is None:
                names.append(value)
            else:
                type_ = TensorType(tuple(arg.shape), Float(32))
                names.append(self.build.constant(f"{step.name}.{op.name}", type_, arg.to(torch.float32)))
        return self.build.add(op, tuple(names), step.name, step.loc)


def _constant_step(op: Mul | Add, constant: Tensor, node: Node) -> Step:
    return Step(op, (None, constant), f"{node.name}.{op.name}", node.loc)
