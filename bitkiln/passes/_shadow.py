"""Shadow weights: the float tensors that training moves, and the constants of the graph that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitkiln.ir import Bipolar, Codebook, Const, Float, Graph, Int, Node, Ternary, fail
from bitkiln.ir.ops import BatchNorm, Conv2d, Decode, Linear, ScaleShift

from ._codes import exact_const, int_const, rounded, scale, to_codes, to_values


@dataclass(frozen=True, eq=False)
class Shadow:
    """One trained constant. `value` is in units of value, float64 for biases (their codes may exceed 24 bits).

    A weight saturates at its format; a bias (`is_bias`) never does, its format grows instead.
    """

    const: Const
    value: Tensor
    is_bias: bool

    def constant(self) -> Const:
        """Return the constant for the graph: rounded to codes, or the floats themselves."""
        number = self.const.type.number
        if not isinstance(number, Int):
            return Const(self.const.name, self.const.type, self.value.to(self.const.data.dtype).clone())
        codes = self._codes(number)
        if self.is_bias:
            return exact_const(self.const.name, codes, number)
        return int_const(self.const.name, codes, number)

    def leaf(self) -> Tensor:
        """Return what the constant is evaluated as in one step (codes or floats), to collect its gradient."""
        number = self.const.type.number
        now = self._codes(number) if isinstance(number, Int) else self.value
        return now.to(self.value.dtype).clone().requires_grad_()

    def take_gradient(self, leaf: Tensor) -> None:
        """Straight-through: the gradient of a code is that of the scaled shadow weight before rounding."""
        if leaf.grad is not None:
            number = self.const.type.number
            steps = scale(number, leaf.dim()) if isinstance(number, Int) else 1.0
            self.value.grad = (leaf.grad * steps).to(self.value.dtype)

    def keep_in_range(self) -> None:
        """Move weights that left the format's range back to its end, where rounding still answers to the gradient."""
        number = self.const.type.number
        if isinstance(number, Int) and not self.is_bias:
            steps = scale(number, self.value.dim()).to(self.value.dtype)
            self.value.clamp_(number.lo / steps, number.hi / steps)

    def _codes(self, number: Int) -> Tensor:
        return rounded(self.value, number) if self.is_bias else to_codes(self.value, number)


def shadows(graph: Graph, reference: Graph) -> tuple[Shadow, ...]:
    """Return a shadow for each weight and bias of `graph`, by name.

    A shadow starts at the value in `reference` that rounds to the constant's code now, else at the code's own value:
    the first step starts from exactly this graph. Raises ToolError `cannot-tune` for weights of other formats.
    """
    found: dict[str, Shadow] = {}
    for node in graph.nodes:
        for position, name in _trained(node):
            const = graph.const.get(name)
            if const is not None and name not in found:
                found[name] = _start(const, reference.const.get(name), position == 2, node)
    return tuple(found[name] for name in sorted(found))


def _trained(node: Node) -> list[tuple[int, str]]:
    """Positions and names of the arguments that training may change; not the statistics of a batch norm."""
    match node.op:
        case Linear() | Conv2d() | ScaleShift():
            return list(enumerate(node.args))[1:]
        case BatchNorm():
            return list(enumerate(node.args))[1:3]
        case Decode():
            return [(1, node.args[1])]
        case _:
            return []


def _start(const: Const, origin: Const | None, is_bias: bool, node: Node) -> Shadow:
    match const.type.number:
        case Float():
            return Shadow(const, const.data.detach().clone(), is_bias)
        case Int() as number:
            value = to_values(const.data, number)
            if origin is not None and origin.type.elements == const.type.elements:
                before = origin.data.detach().to(torch.float64).reshape(const.type.shape)
                codes = rounded(before, number) if is_bias else to_codes(before, number)
                value = torch.where(codes == const.data, before, value)
            shadow = Shadow(const, value if is_bias else value.to(torch.float32), is_bias)
            shadow.keep_in_range()
            return shadow
        case Bipolar() | Ternary() | Codebook() as other:
            raise fail("cannot-tune", f"%{const.name} is {other}; tune trains fixed point and floats", node.loc)
