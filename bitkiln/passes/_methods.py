"""Methods of quantisation by name: the operation of each, and where its learned parameters start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import torch
from torch import Tensor

from bitkiln.ir import Builder, Const, Float, Graph, Node, TensorType
from bitkiln.ir.ops import (
    BasisActivation,
    BasisWeight,
    BinaryScale,
    BinaryWeight,
    ClippedActivation,
    FixedPointWeight,
    LearnedStepActivation,
    LearnedStepWeight,
    LearnedTernaryWeight,
    LogWeight,
    Op,
    ResidualSigns,
    ResidualWeight,
    ShiftedBasesWeight,
    TanhWeight,
    TernaryWeight,
    UniformWeight,
    WindowedSigns,
)
from bitkiln.ir.ops.trained import rows_of
from bitkiln.ir.ops.trained_bases import fitted_basis, nearest_combination, residual_bases

MAX_OBSERVED = 1 << 16
"""Values of the calibration samples that parameters are fitted to."""
_FIT_ITERATIONS = 20


class WeightMethod(Enum):
    """How weights are quantised while they are trained; `bits` counts bases for lq, abc and horq."""

    NONE = "none"
    SYMMETRIC = "symmetric"
    AFFINE = "affine"
    FIXED_POINT = "fixed_point"
    """Dynamic fixed point: a power of two as a step, chosen anew from the weights in each step of training."""
    LSQ = "lsq"
    LSQ_POWER_OF_TWO = "lsq_power_of_two"
    DOREFA = "dorefa"
    LQ = "lq"
    LOG = "log"
    TWN = "twn"
    TTQ = "ttq"
    BWN = "bwn"
    ABC = "abc"
    HORQ = "horq"


class ActivationMethod(Enum):
    """How activations are; `bits` counts bases for lq and abc, and is not looked at by horq."""

    NONE = "none"
    LSQ = "lsq"
    AFFINE = "affine"
    """A learned step, and codes from the least value to the greatest: for values of uneven signs."""
    LSQ_POWER_OF_TWO = "lsq_power_of_two"
    """Dynamic fixed point whose exponent is learned."""
    DOREFA = "dorefa"
    LQ = "lq"
    ABC = "abc"
    HORQ = "horq"


@dataclass(frozen=True, eq=False)
class Quantiser:
    """An operation and the start of each learned parameter, by what it is called."""

    op: Op
    parameters: Mapping[str, Tensor]


def weight_quantiser(method: WeightMethod, bits: int, per_channel: bool, weight: Tensor) -> Quantiser | None:
    """Return the quantiser for latent weights that start at `weight`; None for the method `none`."""
    make = _WEIGHTS.get(method)
    return make(bits, per_channel, weight.detach()) if make is not None else None


def _lsq(bits: int, per_channel: bool, weight: Tensor, power_of_two: bool = False) -> Quantiser:
    op = LearnedStepWeight(bits, power_of_two)
    steps = [best_step(row, *op.limits) for row in rows_of(weight, per_channel)]
    return Quantiser(op, {"log_step": torch.log2(torch.stack(steps))})


def _lq(bases: int, per_channel: bool, weight: Tensor) -> Quantiser:
    return Quantiser(BasisWeight(bases), {"basis": residual_bases(rows_of(weight, per_channel), bases)[1]})


def _ttq(bits: int, per_channel: bool, weight: Tensor) -> Quantiser:
    """One pair of scales for the layer, as in the paper: three codes, that take less than two bits each in a file."""
    op = LearnedTernaryWeight()
    return Quantiser(op, _means_above(rows_of(weight, False), op.threshold))


_WEIGHTS: Mapping[WeightMethod, Callable[[int, bool, Tensor], Quantiser]] = {
    WeightMethod.SYMMETRIC: lambda bits, per_channel, _: Quantiser(UniformWeight(bits, per_channel), {}),
    WeightMethod.AFFINE: lambda bits, per_channel, _: Quantiser(UniformWeight(bits, per_channel, affine=True), {}),
    WeightMethod.FIXED_POINT: lambda bits, per_channel, _: Quantiser(FixedPointWeight(bits, per_channel), {}),
    WeightMethod.LSQ: _lsq,
    WeightMethod.LSQ_POWER_OF_TWO: lambda bits, per_channel, weight: _lsq(bits, per_channel, weight, True),
    WeightMethod.DOREFA: lambda bits, _, __: Quantiser(TanhWeight(bits), {}),
    WeightMethod.LQ: _lq,
    WeightMethod.LOG: lambda bits, _, __: Quantiser(LogWeight(bits), {}),
    WeightMethod.TWN: lambda _, per_channel, __: Quantiser(TernaryWeight(per_channel=per_channel), {}),
    WeightMethod.TTQ: _ttq,
    WeightMethod.BWN: lambda _, per_channel, __: Quantiser(
        BinaryWeight(BinaryScale.CHANNEL if per_channel else BinaryScale.TENSOR), {}
    ),
    WeightMethod.ABC: lambda bases, _, __: Quantiser(ShiftedBasesWeight(bases), {}),
    WeightMethod.HORQ: lambda order, per_channel, _: Quantiser(ResidualWeight(order, per_channel), {}),
}


def _means_above(rows: Tensor, threshold: float) -> dict[str, Tensor]:
    """Mean magnitudes of the weights above and below TTQ's threshold."""
    limit = threshold * rows.abs().amax()
    parts = {"high": rows * (rows > limit), "low": -rows * (rows < -limit)}
    return {name: part.sum(1) / (part > 0).sum(1).clamp(min=1) for name, part in parts.items()}


def activation_quantiser(method: ActivationMethod, bits: int, values: Tensor) -> Quantiser | None:
    """Return the quantiser for activations of which `values` are a sample; None for the method `none`."""
    row = _observed(values)[None]
    match method:
        case ActivationMethod.NONE:
            return None
        case ActivationMethod.LSQ | ActivationMethod.LSQ_POWER_OF_TWO:
            op = LearnedStepActivation(bits, bool(row.min() < 0), method is ActivationMethod.LSQ_POWER_OF_TWO)
            return Quantiser(op, {"log_step": torch.log2(best_step(row[0], *op.limits)).reshape(1)})
        case ActivationMethod.AFFINE:
            low, high = float(row.min().clamp(max=0)), float(row.max().clamp(min=0))
            zero_point = round(-low / max(high - low, 2.0**-30) * ((1 << bits) - 1))
            op = LearnedStepActivation(bits, zero_point=zero_point)
            return Quantiser(op, {"log_step": torch.log2(best_step(row[0], *op.limits)).reshape(1)})
        case ActivationMethod.DOREFA:
            return Quantiser(ClippedActivation(bits), {})
        case ActivationMethod.LQ:
            basis = residual_bases(row, bits)[1]
            for _ in range(_FIT_ITERATIONS):
                basis = fitted_basis(row, nearest_combination(row, basis), bits)
            return Quantiser(BasisActivation(bits), {"basis": basis[0]})
        case ActivationMethod.ABC:
            return Quantiser(WindowedSigns(bits), _windows(row[0], bits))
        case ActivationMethod.HORQ:
            return Quantiser(ResidualSigns(), {"scales": residual_bases(row, 2)[1][0]})
        case _:
            assert_never(method)


def _windows(values: Tensor, bases: int) -> dict[str, Tensor]:
    """Thresholds that part the values evenly, and equal scales of least squared error."""
    thresholds = torch.quantile(values, torch.arange(1, bases + 1) / (bases + 1))
    levels = torch.where(values >= thresholds[:, None], 1.0, -1.0).sum(0)
    scale = (levels @ values / (levels @ levels).clamp(min=1.0)).abs().clamp(min=1e-3)
    return {"shifts": 0.5 - thresholds, "scales": scale.expand(bases).clone()}


def best_step(values: Tensor, low: int, high: int) -> Tensor:
    """Return the step with the least squared error among 25 from that of the largest value down to 1/64 of it."""
    below = values.min() / low if low < 0 else values.new_zeros(())
    above = values.max() / high if high > 0 else values.new_zeros(())
    largest = torch.maximum(below, above).clamp(min=2.0**-30)
    steps = largest * 2.0 ** (-torch.arange(25) / 4)
    errors = [(torch.round(values / step).clamp(low, high) * step - values).square().sum() for step in steps]
    return steps[int(torch.stack(errors).argmin())]


def _observed(values: Tensor) -> Tensor:
    """At most MAX_OBSERVED values, evenly picked."""
    flat = values.detach().reshape(-1)
    return flat[:: max(1, len(flat) // MAX_OBSERVED)]


def add_quantiser(build: Builder, quantiser: Quantiser, value: str, name: str, node: Node | None = None) -> str:
    """Append the operation on a value, with its parameters as constants, and return its name, from `name`."""
    constants = [
        build.constant(f"{name}.{what}", TensorType(tuple(start.shape), Float()), start.to(torch.float32).contiguous())
        for what, start in quantiser.parameters.items()
    ]
    args = (value, *constants)
    return build.add(quantiser.op, args, name, node.loc) if node else build.add(quantiser.op, args, name)


def with_quantisers(graph: Graph, weights: Mapping[str, Quantiser], activations: Mapping[str, Quantiser]) -> Graph:
    """Return the graph with quantisers behind constants and values, by name: all that read them read the result."""
    build = Builder(graph.name)
    values: dict[str, str] = {}
    for value in graph.inputs:
        values[value.name] = build.input(value.name, value.type)
        if value.name in activations:
            quantiser = activations[value.name]
            values[value.name] = add_quantiser(build, quantiser, values[value.name], f"{value.name}.quantised")
    for const in graph.consts:
        values[const.name] = build.constant(const.name, const.type, const.data)
    done: set[str] = set()
    for node in graph.nodes:
        for arg in node.args:
            if arg in weights and arg not in done:
                done.add(arg)
                values[arg] = add_quantiser(build, weights[arg], values[arg], f"{arg}.quantised", node)
        values[node.name] = build.add(node.op, tuple(values[arg] for arg in node.args), node.name, node.loc)
        if node.name in activations:
            quantiser = activations[node.name]
            values[node.name] = add_quantiser(build, quantiser, values[node.name], f"{node.name}.quantised", node)
    return build.graph([values[name] for name in graph.outputs])


def float_weight(graph: Graph, node: Node) -> Const | None:
    """The layer's weights, if they are a constant of floats that nothing quantises yet."""
    const = graph.const.get(node.args[1]) if len(node.args) > 1 else None
    return const if const is not None and const.type.is_float else None
