"""Kernels of the units that keep part of a map: windows and reordering."""

from __future__ import annotations

from bitkiln.hdl.rendering import rendered
from bitkiln.ir.units import Gather, Window

from ._kernel import Constant, Kernel, Ports, Values, count, element, literal


def window(unit: Window, ports: Ports) -> Kernel:
    """The windows of a map that comes row by row."""
    counters = _counters(unit)
    rows, columns = unit.output_size
    ends = [span - 1 - padding for span, padding in zip(unit.span, unit.padding, strict=True)]
    row = _sum("first_row", _times("i", unit.dilation[0]) if unit.kernel[0] > 1 else "")
    column = _linear("x", unit.stride[1], -unit.padding[1]) if columns > 1 else str(-unit.padding[1])
    values = {
        "name": ports.name,
        "input": ports.inputs[0],
        "output": ports.outputs[0],
        "buffer_rows": unit.buffer_rows,
        "row_beats": unit.row_beats,
        "pixel_beats": unit.beats_per_pixel,
        "output_rows": rows,
        "height": unit.height,
        "width": unit.width,
        "counters": ", ".join(f"{name} = 0" for name, _ in counters),
        "last_row": _linear("y", unit.stride[0], ends[0]),
        "last_column": _linear("x", unit.stride[1], ends[1]) if columns > 1 else str(ends[1]),
        "first_row": _linear("y", unit.stride[0], -unit.padding[0]),
        "in_row": row,
        "in_column": _sum(column, _times("j", unit.dilation[1]) if unit.kernel[1] > 1 else ""),
        "advance": _advance(counters),
        "trips": max(unit.height * unit.row_beats, rows * columns * unit.window_steps),
        "give": _give(unit, ports.outputs[0]),
    }
    kernel = " x ".join(map(str, unit.kernel))
    size = " x ".join(map(str, unit.output_size))
    summary = (
        f"[{unit.height} x {unit.width} x {unit.channels}], {count(unit.lanes, 'channel')} a beat: "
        f"{size} windows of {kernel}, stride {unit.stride[0]} x {unit.stride[1]}",
    )
    return Kernel(summary, rendered("hls/kernels/window.h.j2", values))


def gather(unit: Gather, ports: Ports) -> Kernel:
    """Any beats of a block, in any order."""
    size, steps = len(unit.source), max(unit.block_beats, len(unit.source))
    source = f"{ports.name}_table[i]" if size > 1 else literal(int(unit.source[0]))
    value = f"block[1 - turn % 2][{source}]"
    if unit.has_zeros:
        value = f"{source} < 0 ? {ports.inputs[0]}{{}} : {value}"
    conditions = {"writes": ["turn > 0"], "reads": [f"turn < {unit.blocks}"]}
    if size < steps:
        conditions["writes"].append(f"i < {size}")
    if unit.block_beats < steps:
        conditions["reads"].append(f"i < {unit.block_beats}")
    values = {
        "name": ports.name,
        "input": ports.inputs[0],
        "output": ports.outputs[0],
        "blocks": unit.blocks,
        "block_beats": unit.block_beats,
        "steps": steps,
        "value": value,
        **{name: " && ".join(terms) for name, terms in conditions.items()},
    }
    summary = (f"{count(unit.blocks, 'block')} of {count(unit.block_beats, 'beat')} of {unit.beat} to {size:,} each",)
    constants: tuple[Constant, ...] = (Values(f"{ports.name}_table", unit.source),) if size > 1 else ()
    return Kernel(summary, rendered("hls/kernels/gather.h.j2", values), constants)


def _counters(unit: Window) -> list[tuple[str, int]]:
    """The counters of an output row, innermost first, that count further than 1."""
    group_beats = unit.beats_per_pixel // unit.groups
    sizes = (group_beats, unit.kernel[1], unit.kernel[0], unit.groups, unit.output_size[1])
    return [(name, size) for name, size in zip(("channel", "j", "i", "group", "x"), sizes, strict=True) if size > 1]


def _advance(counters: list[tuple[str, int]]) -> list[str]:
    """Statements that go to the next step: the innermost counter, at its end the next."""
    lines = []
    for depth, (name, size) in enumerate(counters):
        lines += ["    " * depth + f"if (++{name} == {size}) {{", "    " * depth + f"    {name} = 0;"]
    lines.append("    " * len(counters) + "++y;")
    return lines + ["    " * depth + "}" for depth in reversed(range(len(counters)))]


def _give(unit: Window, output: str) -> list[str]:
    """Statements that write the beat of a step."""
    group_beats = unit.beats_per_pixel // unit.groups
    place = _sum(_times("in_column", unit.beats_per_pixel), _times("group", group_beats) if unit.groups > 1 else "")
    place = _sum(place, "channel") if group_beats > 1 else place
    stored = f"rows[in_row % {unit.buffer_rows}][{place}]"
    is_bounded = unit.padding == (0, 0) and all(
        (count - 1) * stride + span <= size
        for count, stride, span, size in zip(
            unit.output_size, unit.stride, unit.span, (unit.height, unit.width), strict=True
        )
    )
    if is_bounded:
        return [f"output.write({stored});"]
    given = unit.outputs[0]
    pad = f"{element(given)}({given.field(unit.pad_code) if given.bipolar else unit.pad_code})"
    code = f"{element(given)}(stored.lane[p] == 1 ? 1 : -1)" if unit.widens else "stored.lane[p]"
    outside = " || ".join(
        f"{name} < 0 || {name} >= {size}" for name, size in (("in_row", unit.height), ("in_column", unit.width))
    )
    return [
        f"const bool is_outside = {outside};",
        f"{output} result;",
        f"const auto &stored = is_outside ? rows[0][0] : {stored};",
        "HLS_UNROLL_NEXT",
        f"for (int p = 0; p < {unit.lanes}; ++p) {{",
        "    HLS_UNROLL",
        f"    result.lane[p] = is_outside ? {pad} : {code};",
        "}",
        "output.write(result);",
    ]


def _times(name: str, factor: int) -> str:
    return name if factor == 1 else f"{name} * {factor}"


def _linear(name: str, factor: int, offset: int) -> str:
    sign = "+" if offset > 0 else "-"
    return f"{_times(name, factor)} {sign} {abs(offset)}" if offset else _times(name, factor)


def _sum(a: str, b: str) -> str:
    return f"{a} + {b}" if b else a
