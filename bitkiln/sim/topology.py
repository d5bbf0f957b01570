"""Reads the topology files of SCALE-Sim: one layer a line, as a convolution or as a matrix product M, N, K."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bitkiln.ir import Location, ToolError, fail

from .workload import Layer, LayerKind, Workload

_CONVOLUTION = ("height", "width", "kernel height", "kernel width", "channels", "filters", "stride")
_PRODUCT = ("M", "N", "K")
_DEPTHWISE = "DP"
"""What the name of a layer contains that SCALE-Sim repeats for every channel."""
_SPARSITY = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_WEIGHTS, _ACTIVATIONS, _GROUPS = "weight density", "activation density", "groups"
_BATCH = ("batch", "batch size")
_OURS = (_WEIGHTS, _ACTIVATIONS, _GROUPS, *_BATCH)
"""Columns that are found by their names, wherever they stand."""
_HINT = "a line is: name, height, width, kernel height, kernel width, channels, filters, stride; or: name, M, N, K"


def read_topology(path: Path, batch: int = 1) -> Workload:
    """Return the layers of a SCALE-Sim topology file, whose first line names the columns.

    Nothing is padded and output sizes are rounded up, as its own files expect; `#` begins a comment. A layer reads the
    output of the one before it if the number of values is the same. As there, a name with `DP` in it is a depthwise
    layer: so many filters for each channel. A last column `N:M` is the share of weights that are not zero; columns that
    the first line calls "weight density" and "activation density" have shares from 0 to 1, one called "groups" divides
    channels and filters, one called "batch" is the batch of its layer. Raises `missing-file`, and `bad-topology` with
    the line's number.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise fail("bad-topology", f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise fail("missing-file", f"cannot read the topology {path}: {error.strerror}") from None
    return parse_topology(text, str(path), batch)


def parse_topology(text: str, where: str, batch: int = 1) -> Workload:
    """Return the layers of a topology file's text; `where` names it in messages."""
    rows = list(_rows(text))
    if not rows:
        raise fail("bad-topology", f"{where} is empty", hint=_HINT)
    (line, header), *body = rows
    is_product = [cell.upper() for cell in header[1:4]] == ["M", "N", "K"]
    if not is_product and all(cell.lstrip("-").isdigit() for cell in header[1:4]):
        raise _bad(where, line, "the first line must name the columns, but is a layer already")
    layers: list[Layer] = []
    for line, cells in body:
        try:
            sizes, ours = _split_ours(header, cells)
            layer = _product(sizes, batch) if is_product else _convolution(sizes, batch)
            layer = _with_ours(layer, ours)
        except ToolError as error:
            raise _bad(where, line, error.diagnostics[0].message) from None
        layers.append(_linked(layer, layers))
    if not layers:
        raise fail("bad-topology", f"{where} names columns, but has no layer", hint=_HINT)
    return Workload(Path(where).stem, tuple(layers), batch)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with something on them, from 1, as cells; the comma that ends each line there makes no cell."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        cells = [cell.strip() for cell in line.partition("#")[0].split(",")]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield number, cells


def _bad(where: str, line: int, message: str) -> ToolError:
    return fail("bad-topology", f"{where}, line {line}: {message}", Location(where, line), _HINT)


def _numbers(cells: list[str], names: tuple[str, ...]) -> list[int]:
    if len(cells) != len(names):
        raise fail(
            "bad-topology", f"expected {len(names)} numbers ({', '.join(names)}) after the name, not {len(cells)}"
        )
    for name, cell in zip(names, cells, strict=True):
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", cell):
            raise fail("bad-topology", f"{name} must be a whole number, not {cell[:40]!r}")
        if int(cell) < 1:
            raise fail("bad-topology", f"{name} must be at least 1, not {cell}")
    return [int(cell) for cell in cells]


def _density(cells: list[str]) -> tuple[list[str], float | None]:
    """Split off a last cell like 2:4."""
    match = _SPARSITY.fullmatch(cells[-1]) if cells else None
    if match is None:
        return cells, None
    kept, of = int(match[1]), int(match[2])
    if not 1 <= kept <= of:
        raise fail("bad-topology", f"the sparsity N:M must keep between 1 and M of M weights, not {cells[-1]}")
    return cells[:-1], kept / of


def _split_ours(header: list[str], cells: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split off the cells of the columns that are found by their names."""
    places = {cell.lower(): at for at, cell in enumerate(header) if cell.lower() in _OURS}
    found = {name: cells[at] for name, at in places.items() if at < len(cells) and cells[at]}
    return [cell for at, cell in enumerate(cells) if at not in places.values()], found


def _share(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,17})?", text) or not 0 <= float(text) <= 1:
        raise fail("bad-topology", f"{name} must be a number from 0 to 1, not {text[:40]!r}")
    return float(text)


def _with_ours(layer: Layer, ours: dict[str, str]) -> Layer:
    if _GROUPS in ours:
        layer = replace(layer, groups=_numbers([ours[_GROUPS]], (_GROUPS,))[0])
    elif _DEPTHWISE in layer.name and layer.kind is LayerKind.CONVOLUTION:
        layer = replace(layer, groups=layer.channels, filters=layer.filters * layer.channels)
    for name in _BATCH:
        if name in ours:
            layer = replace(layer, batch=_numbers([ours[name]], (name,))[0] * layer.batch)
    if _WEIGHTS in ours:
        layer = replace(layer, given_weight_density=_share(_WEIGHTS, ours[_WEIGHTS]))
    if _ACTIVATIONS in ours:
        layer = replace(layer, given_activation_density=_share(_ACTIVATIONS, ours[_ACTIVATIONS]))
    return layer


def _convolution(cells: list[str], batch: int) -> Layer:
    numbers, density = _density(cells[1:])
    names = _CONVOLUTION if len(numbers) != len(_CONVOLUTION) + 1 else (*_CONVOLUTION, "stride width")
    height, width, kernel_height, kernel_width, channels, filters, *stride = _numbers(numbers, names)
    return Layer(
        name=cells[0],
        kind=LayerKind.CONVOLUTION,
        height=height,
        width=width,
        channels=channels,
        filters=filters,
        kernel=(kernel_height, kernel_width),
        stride=(stride[0], stride[-1]),
        batch=batch,
        is_rounded_up=True,
        given_weight_density=density,
    )


def _product(cells: list[str], batch: int) -> Layer:
    numbers, density = _density(cells[1:])
    rows, columns, terms = _numbers(numbers, _PRODUCT)
    return Layer(cells[0], LayerKind.MATRIX, rows, 1, terms, columns, batch=batch, given_weight_density=density)


def _linked(layer: Layer, before: list[Layer]) -> Layer:
    """Name the layer before as the source, if this one takes exactly what it gives."""
    if before and before[-1].output_count == layer.input_count:
        return replace(layer, source=before[-1].name)
    return layer
