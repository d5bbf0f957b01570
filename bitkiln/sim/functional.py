"""What a Plan computes, unit by unit on whole streams: proves the lowering against the golden model without any RTL."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Plan
from bitkiln.ir.units import (
    AddStreams,
    Beat,
    ConcatStreams,
    Fork,
    Gather,
    LookupStream,
    MatrixVector,
    MultiplyStreams,
    Pool,
    Reduction,
    Rescale,
    RescaleStream,
    Resize,
    SparseMatrixVector,
    ThresholdStream,
    TopKStream,
    Unit,
    Window,
)

Codes = NDArray[np.int64]


def run_plan(plan: Plan, codes: Codes) -> Codes:
    """Return [images, output elements] for [images, input elements], both in the order in which they are streamed.

    Asserts that every element fits its stream and every accumulator its width.
    """
    return run_streams(plan, codes)[plan.output_stream]


def run_streams(plan: Plan, codes: Codes) -> dict[str, Codes]:
    """Return [images, elements] of every stream; see `run_plan`."""
    streams = {plan.input_stream: codes}
    for stage in plan.stages:
        inputs = [streams[name] for name in stage.inputs]
        for name, result in zip(stage.outputs, _run(stage.unit, inputs), strict=True):
            beat = plan.stream[name].beat
            assert result.shape == (len(codes), plan.stream[name].beats * beat.lanes), (stage.name, result.shape)
            _check_fits(result, beat.code_range, stage.name)
            assert not beat.bipolar or bool((result != 0).all()), stage.name
            streams[name] = result
    return streams


def _run(unit: Unit, inputs: list[Codes]) -> list[Codes]:
    match unit:
        case MatrixVector():
            return [_matrix_vector(unit, inputs[0])]
        case SparseMatrixVector():
            return [_matrix_vector(unit.dense, inputs[0])]
        case Pool():
            return [_pool(unit, inputs[0])]
        case AddStreams():
            total = (inputs[0] << unit.shifts[0]) + (inputs[1] << unit.shifts[1])
            return [_rescaled(total, unit.rescale) if unit.rescale else total]
        case MultiplyStreams():
            return [_rescaled(inputs[0] * inputs[1], unit.rescale)]
        case RescaleStream():
            return [_rescaled(inputs[0], unit.rescale)]
        case ThresholdStream():
            return [_thresholded(unit, inputs[0])]
        case LookupStream():
            return [np.array(unit.table, np.int64)[inputs[0] & ((1 << unit.input.bits) - 1)]]
        case TopKStream():
            return [np.argsort(-inputs[0], 1, kind="stable")[:, : unit.k]]
        case _:
            return _moved(unit, inputs)


def _moved(unit: Unit, inputs: list[Codes]) -> list[Codes]:
    """The units that compute nothing."""
    match unit:
        case Window():
            return [_window(unit, inputs[0])]
        case Gather():
            return [_gathered(unit, inputs[0])]
        case ConcatStreams():
            parts = [x.reshape(len(x), unit.rounds, -1) for x in inputs]
            return [np.concatenate(parts, 2).reshape(len(inputs[0]), -1)]
        case Resize():
            return inputs
        case Fork():
            return inputs * unit.ways
        case _:
            raise AssertionError(unit)


def _matrix_vector(unit: MatrixVector, x: Codes) -> Codes:
    lanes = unit.rows if unit.lanewise else 1
    vectors = x.reshape(len(x), unit.vectors, unit.groups, unit.columns, lanes)
    weights = unit.weights.reshape(unit.groups, unit.rows, unit.columns)
    # Exact in float64, whose products run in BLAS, while the accumulator stays below 2**53.
    carrier = np.float64 if unit.accumulator_bits < 53 else np.int64
    indices = "nvgcr,grc->nvgr" if unit.lanewise else "nvgcl,grc->nvgr"
    products = np.einsum(indices, vectors.astype(carrier), weights.astype(carrier), optimize=True)
    total = products.astype(np.int64).reshape(len(x), unit.vectors, -1) + unit.bias
    _check_fits(total, Beat(1, unit.accumulator_bits, True).code_range, "accumulator")
    if unit.thresholds:
        total = unit.thresholds.apply(total)
    elif unit.shift:
        shift = np.array(unit.shift, np.int64)
        shifted = (total >> np.maximum(shift, 0)) << np.maximum(-shift, 0)
        total = np.clip(shifted, unit.lo, unit.hi)
    result: Codes = total.reshape(len(x), -1)
    return result


def _thresholded(unit: ThresholdStream, x: Codes) -> Codes:
    rows = len(unit.thresholds.values)
    codes: Codes = unit.thresholds.apply(x.reshape(len(x), -1, rows)).reshape(len(x), -1)
    return codes


def _gathered(unit: Gather, x: Codes) -> Codes:
    blocks = x.reshape(len(x), unit.blocks, unit.block_beats, unit.beat.lanes)
    picked = np.where(unit.source[:, None] < 0, 0, blocks[:, :, unit.source])
    result: Codes = picked.reshape(len(x), -1)
    return result


def _window(unit: Window, x: Codes) -> Codes:
    index = _window_index(unit)
    padded = np.concatenate([x, np.full((len(x), 1), unit.pad_code, np.int64)], 1)
    result: Codes = padded[:, index.reshape(-1)]
    return result


def _window_index(unit: Window) -> Codes:
    """[position row, column, group, kernel row, kernel column, channel of the group]: input element, -1 is padding."""
    rows, columns = (
        np.arange(unit.output_size[axis])[:, None] * unit.stride[axis]
        + np.arange(unit.kernel[axis])[None, :] * unit.dilation[axis]
        - unit.padding[axis]
        for axis in range(2)
    )
    channels = np.arange(unit.channels).reshape(unit.groups, -1)
    row = rows[:, None, None, :, None, None]
    column = columns[None, :, None, None, :, None]
    channel = channels[None, None, :, None, None, :]
    inside = (row >= 0) & (row < unit.height) & (column >= 0) & (column < unit.width)
    return np.where(inside, (row * unit.width + column) * unit.channels + channel, -1)


def _pool(unit: Pool, x: Codes) -> Codes:
    windows = x.reshape(len(x), unit.results, unit.window, unit.lanes)
    match unit.reduction:
        case Reduction.MAX:
            result = windows.max(2)
        case Reduction.SUM:
            result = windows.sum(2)
        case _:
            assert_never(unit.reduction)
    pooled: Codes = (_rescaled(result, unit.rescale) if unit.rescale else result).reshape(len(x), -1)
    return pooled


def _rescaled(x: Codes, rescale: Rescale) -> Codes:
    scaled = x * rescale.multiplier + rescale.half
    shifted = (scaled >> max(rescale.shift, 0)) << max(-rescale.shift, 0)
    clipped: Codes = np.clip(shifted, rescale.lo, rescale.hi)
    return clipped


def _check_fits(x: Codes, code_range: tuple[int, int], place: str) -> None:
    lo, hi = code_range
    assert x.size == 0 or (int(x.min()) >= lo and int(x.max()) <= hi), f"{place}: codes outside {lo} ... {hi}"
