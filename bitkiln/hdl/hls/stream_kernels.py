"""Kernels of the units that treat each beat by itself, reduce a run of beats, or only move them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitkiln.hdl.rendering import rendered
from bitkiln.ir.units import (
    AddStreams,
    Beat,
    ConcatStreams,
    Fork,
    LookupStream,
    MultiplyStreams,
    Pool,
    Reduction,
    RescaleStream,
    Resize,
    ThresholdStream,
    TopKStream,
)

from ._endings import RowConstants, compared
from ._kernel import Constant, Kernel, Ports, Values, count, element, number, rescaled


def pool(unit: Pool, ports: Ports) -> Kernel:
    """Every `window` beats to one."""
    is_sum = unit.reduction is Reduction.SUM
    bits = unit.input_bits + (unit.window.bit_length() if is_sum else 0)
    result = f"{element(unit.outputs[0])}(total[p])"
    if unit.rescale:
        result = rescaled("total[p]", bits, unit.input_signed, unit.rescale)
    values = _ends(ports) | {
        "total": number(bits, unit.input_signed),
        "lanes": unit.lanes,
        "results": unit.results,
        "window": unit.window,
        "update": "total[p] += value;" if is_sum else "total[p] = value > total[p] ? value : total[p];",
        "result": result,
    }
    what = "sum" if is_sum else "largest"
    summary = (f"{unit.results:,} x the {what} of {count(unit.window, 'beat')} of {unit.inputs[0]}",)
    return Kernel(summary, rendered("hls/kernels/pool.h.j2", values))


def add(unit: AddStreams, ports: Ports) -> Kernel:
    """The sum of two streams."""
    wide = 1 + max(
        beat.bits + shift + (not beat.signed) for beat, shift in zip((unit.a, unit.b), unit.shifts, strict=True)
    )
    terms = [
        f"(ap_int<{wide}>({port}.lane[p]) << {shift})" if shift else f"ap_int<{wide}>({port}.lane[p])"
        for port, shift in zip("ab", unit.shifts, strict=True)
    ]
    total = " + ".join(terms)
    result = f"{element(unit.outputs[0])}({total})"
    if unit.rescale:
        result = rescaled(total, wide, True, unit.rescale)
    summary = (f"{count(unit.beats, 'beat')}: {unit.a} + {unit.b}",)
    return _lanes(ports, unit.beats, unit.outputs[0], [f"result.lane[p] = {result};"], summary)


def multiply(unit: MultiplyStreams, ports: Ports) -> Kernel:
    """The product of two streams, rescaled."""
    bits = unit.a.bits + unit.b.bits
    result = rescaled("a.lane[p] * b.lane[p]", bits, unit.a.signed or unit.b.signed, unit.rescale)
    summary = (f"{count(unit.beats, 'beat')}: {unit.a} * {unit.b}",)
    return _lanes(ports, unit.beats, unit.outputs[0], [f"result.lane[p] = {result};"], summary)


def requantise(unit: RescaleStream, ports: Ports) -> Kernel:
    """Each element through a multiplication and a shift."""
    result = rescaled("x.lane[p]", unit.input_bits, unit.input_signed, unit.rescale)
    summary = (f"{count(unit.beats, 'beat')} of {unit.inputs[0]} to {unit.outputs[0]}",)
    return _lanes(ports, unit.beats, unit.outputs[0], [f"result.lane[p] = {result};"], summary)


def threshold(unit: ThresholdStream, ports: Ports) -> Kernel:
    """Each element's code by comparison with its row's thresholds."""
    constants = RowConstants(ports.name, unit.input.lanes)
    value = "x.lane[p]"
    if unit.input.bipolar:
        value = "ap_int<2>(x.lane[p] == 1 ? 1 : -1)"
    lines = compared(value, unit.thresholds, unit.output, constants)
    rounds = len(unit.thresholds.values) // unit.input.lanes
    row = f"const int row = i % {rounds};" if rounds > 1 else "const int row = 0;"
    summary = (
        f"{count(unit.beats, 'beat')} of {unit.input} against {count(unit.thresholds.count, 'threshold')} a row",
    )
    reads = [row, *constants.declarations]
    return _lanes(ports, unit.beats, unit.output, lines, summary, reads, tuple(constants.tables))


def lookup(unit: LookupStream, ports: Ports) -> Kernel:
    """Each element by a table."""
    fields = [unit.output.field(code) if unit.output.bipolar else code for code in unit.table]
    table = Values(f"{ports.name}_table", np.array(fields))
    index = f"ap_uint<{unit.input.bits}>(x.lane[p]).to_int()"
    line = f"result.lane[p] = {element(unit.output)}({table.name}[{index}]);"
    summary = (f"{count(unit.beats, 'beat')} of {unit.input} by a table of {len(unit.table):,} codes",)
    return _lanes(ports, unit.beats, unit.output, [line], summary, (), (table,))


def top_k(unit: TopKStream, ports: Ports) -> Kernel:
    """The places of the largest elements, of equals the first."""
    values = _ends(ports) | {"element": element(unit.inputs[0]), "count": unit.count, "k": unit.k}
    summary = (f"the places of the {unit.k} largest of {unit.count} x {unit.inputs[0]}",)
    return Kernel(summary, rendered("hls/kernels/top_k.h.j2", values))


def concat(unit: ConcatStreams, ports: Ports) -> Kernel:
    """Some beats of each input in turn."""
    names = [f"input{number}" for number in range(len(unit.parts))]
    ends = np.cumsum(unit.parts).tolist()
    conditions = [f"if (i < {ends[0]})", *(f"else if (i < {end})" for end in ends[1:-1]), "else"]
    values = {
        "name": ports.name,
        "parameters": _parameters(ports, names, ["output"]),
        "rounds": unit.rounds,
        "beats": ends[-1],
        "parts": list(zip(conditions, names, strict=True)),
    }
    summary = (f"{unit.rounds:,} x {', '.join(map(str, unit.parts))} beats of {unit.beat}, input after input",)
    return Kernel(summary, rendered("hls/kernels/concat.h.j2", values))


def resize(unit: Resize, ports: Ports) -> Kernel:
    """Beats of other lanes."""
    wide = max(unit.lanes_in, unit.lanes_out)
    values = _ends(ports) | {
        "beats": unit.elements // wide,
        "ratio": unit.ratio,
        "lanes": min(unit.lanes_in, unit.lanes_out),
    }
    template = "narrow" if unit.lanes_in > unit.lanes_out else "widen"
    summary = (f"beats of {unit.inputs[0]} to beats of {unit.outputs[0]}",)
    return Kernel(summary, rendered(f"hls/kernels/{template}.h.j2", values))


def fork(unit: Fork, ports: Ports) -> Kernel:
    """Every beat to each output."""
    ways = [f"output{way}" for way in range(unit.ways)]
    values = {
        "name": ports.name,
        "parameters": _parameters(ports, ["input"], ways),
        "input": ports.inputs[0],
        "beats": unit.beats,
        "ways": ways,
    }
    summary = (f"{count(unit.beats, 'beat')} of {unit.beat} to {unit.ways} users",)
    return Kernel(summary, rendered("hls/kernels/fork.h.j2", values))


def _lanes(
    ports: Ports,
    beats: int,
    output: Beat,
    lines: Sequence[str],
    summary: tuple[str, ...],
    reads: Sequence[str] = (),
    constants: tuple[Constant, ...] = (),
) -> Kernel:
    """A kernel that makes an output beat of a beat of each input, lane by lane; they are `x`, or `a` and `b`."""
    names = ["input"] if len(ports.inputs) == 1 else ["input0", "input1"]
    variables = ["x"] if len(ports.inputs) == 1 else ["a", "b"]
    taken = [
        f"const {type_} {variable} = {name}.read();"
        for type_, variable, name in zip(ports.inputs, variables, names, strict=True)
    ]
    values = {
        "name": ports.name,
        "parameters": _parameters(ports, names, ["output"]),
        "beats": beats,
        "reads": [*taken, *reads],
        "output": ports.outputs[0],
        "lanes": output.lanes,
        "lines": lines,
    }
    return Kernel(summary, rendered("hls/kernels/lanes.h.j2", values), constants)


def _parameters(ports: Ports, inputs: Sequence[str], outputs: Sequence[str]) -> str:
    pairs = [*zip(ports.inputs, inputs, strict=True), *zip(ports.outputs, outputs, strict=True)]
    return ", ".join(f"hls::stream<{type_}> &{name}" for type_, name in pairs)


def _ends(ports: Ports) -> dict[str, object]:
    return {"name": ports.name, "input": ports.inputs[0], "output": ports.outputs[0]}
