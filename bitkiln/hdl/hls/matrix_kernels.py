"""Kernels of the matrix-vector units: how products are written for each kind of weights, and how sums become codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitkiln.hdl.rendering import rendered
from bitkiln.ir.units import MatrixVector, Multiplier, Products, SparseMatrixVector, Storage, WeightCode

from ._endings import RowConstants, compared
from ._kernel import Constant, Kernel, Ports, Table, Values, count, element, literal, number

Rows = NDArray[np.int64]


def matrix_vector(unit: MatrixVector, ports: Ports) -> Kernel:
    """PE rows times SIMD columns a cycle."""
    name, stored = ports.name, _stored_type(unit)
    entries = unit.groups * unit.row_folds
    folded = _stored(unit).reshape(entries, unit.pe, unit.column_folds, unit.simd).transpose(0, 2, 1, 3)
    weights = Table(f"{name}_weights", unit.stored_bits, folded.reshape(entries * unit.column_folds, -1))
    constants: list[Constant] = [weights, _starts(unit, name)]
    if unit.weight_code is WeightCode.CODEBOOK:
        constants.append(Values(f"{name}_table", np.array(unit.codebook)))
    result, result_constants = _result(unit, ports)
    loops, row, weight = _loops(unit)
    replays = unit.row_folds > 1
    text = rendered(
        "hls/kernels/matrix_vector.h.j2",
        {
            "name": name,
            "input": ports.inputs[0],
            "output": ports.outputs[0],
            "accumulator": number(unit.accumulator_bits, True),
            "accumulator_bits": unit.accumulator_bits,
            "declarations": _declarations(unit, ports, replays),
            "loops": loops,
            "column_folds": unit.column_folds,
            "fetch": _fetch(ports.inputs[0], replays),
            "stored": stored,
            "stored_bits": unit.stored_bits,
            "pe": unit.pe,
            "simd": unit.simd,
            "weight_entry": weight,
            "row_entry": row,
            "start_condition": "if (column == 0) " if unit.column_folds > 1 else "",
            "end_condition": f"if (column == {unit.column_folds - 1}) " if unit.column_folds > 1 else "",
            "term": [line.replace("lane[s]", "lane[p]") if unit.lanewise else line for line in _term(unit, name)],
            "result_row": f", {row}" if result_constants else "",
        },
    )
    return Kernel(_summary(unit), result + "\n" + text, (*constants, *result_constants))


def sparse_matrix_vector(unit: SparseMatrixVector, ports: Ports) -> Kernel:
    """Only weights that are not zero, an entry of each element a cycle."""
    dense, name, entries = unit.dense, ports.name, unit.entries
    codes = [np.array([unit.codebook.index(code) for code in own], np.int64) for own in entries.codes]
    has_codebook = unit.index_bits < dense.weight_bits
    if not has_codebook:
        codes = [np.array(own, np.int64) & ((1 << dense.weight_bits) - 1) for own in entries.codes]
    most = max(1, *(len(own) for own in codes))
    packed = np.zeros((dense.pe, most), np.int64)
    for p, (own_gaps, own_codes) in enumerate(zip(entries.gaps, codes, strict=True)):
        packed[p, : len(own_codes)] = np.array(own_gaps, np.int64) | own_codes << unit.gap_bits
    walks = np.maximum(entries.counts.max(1), 1)
    count_bits = max(1, int(entries.counts.max()).bit_length())
    constants: list[Constant] = [
        Values(f"{name}_weights", packed),
        Values(f"{name}_steps", walks),
        Table(f"{name}_counts", count_bits, entries.counts),
        _starts(dense, name),
    ]
    code = f"{number(dense.weight_bits, True)}(entry >> {unit.gap_bits})"
    if has_codebook:
        constants.append(Values(f"{name}_table", np.array(unit.codebook)))
        code = f"{number(dense.weight_bits, True)}({name}_table[entry >> {unit.gap_bits}])"
    result, result_constants = _result(dense, ports)
    lane = f"column % {dense.simd}" if dense.simd > 1 else "0"
    text = rendered(
        "hls/kernels/sparse_matrix_vector.h.j2",
        {
            "name": name,
            "input": ports.inputs[0],
            "output": ports.outputs[0],
            "element": element(dense.inputs[0]),
            "accumulator": number(dense.accumulator_bits, True),
            "accumulator_bits": dense.accumulator_bits,
            "vectors": dense.vectors,
            "row_folds": dense.row_folds,
            "pe": dense.pe,
            "steps": int(walks.sum()),
            "count_bits": count_bits,
            "gap_mask": (1 << unit.gap_bits) - 1,
            "lane": lane,
            "reads": f"k == 0 && {lane} == 0" if dense.simd > 1 else "k == 0",
            "code": code,
            "result_row": ", row" if result_constants else "",
        },
    )
    return Kernel(_sparse_summary(unit), result + "\n" + text, (*constants, *result_constants))


def _summary(unit: MatrixVector) -> tuple[str, ...]:
    times = f"{unit.vectors:,} x " if unit.vectors > 1 else ""
    groups = f"{unit.groups} groups of " if unit.groups > 1 else ""
    vector = "each row by a vector of its own" if unit.lanewise else "by vector"
    kind = f"{unit.weight_code.value} weights of {count(unit.weight_bits, 'bit')}"
    return (
        f"{times}{groups}[{unit.rows} x {unit.columns}] {vector}, {kind};",
        f"{count(unit.pe, 'row')} and {count(unit.simd, 'column')} at a time: {count(unit.steps, 'cycle')} an image",
    )


def _sparse_summary(unit: SparseMatrixVector) -> tuple[str, ...]:
    dense, entries = unit.dense, int(unit.entries.counts.sum())
    times = f"{dense.vectors:,} x " if dense.vectors > 1 else ""
    return (
        f"{times}[{dense.rows} x {dense.columns}] by vector, sparse weights of {count(dense.weight_bits, 'bit')}:",
        f"{count(entries, 'entry', 'entries')} in {count(dense.pe, 'element')}, row r in element r % {dense.pe}",
    )


def _loops(unit: MatrixVector) -> tuple[list[str], str, str]:
    """The loops outside that over columns, innermost last, and the entries of a row's and of a step's constants."""
    loops, row = [], []
    if unit.vectors > 1:
        loops.append(f"for (int position = 0; position < {unit.vectors}; ++position)")
    if unit.groups > 1:
        loops.append(f"for (int group = 0; group < {unit.groups}; ++group)")
        row.append("group" if unit.row_folds == 1 else f"group * {unit.row_folds}")
    if unit.row_folds > 1:
        loops.append(f"for (int row = 0; row < {unit.row_folds}; ++row)")
        row.append("row")
    entry = " + ".join(row) or "0"
    if unit.column_folds == 1:
        return loops, entry, entry
    scaled = f"({entry})" if len(row) > 1 else entry
    return loops, entry, f"{scaled} * {unit.column_folds} + column" if row else "column"


def _fetch(input_type: str, replays: bool) -> list[str]:
    """The input beat of a step: fresh in the first row fold, replayed in the others."""
    if not replays:
        return [f"const {input_type} x = input.read();"]
    return ["if (row == 0)", "    vector[column] = input.read();", f"const {input_type} x = vector[column];"]


def _declarations(unit: MatrixVector, ports: Ports, replays: bool) -> list[str]:
    weights = f"{ports.name}_weights"
    memory = "HLS_LUT_MEMORY" if unit.storage is Storage.LUT else "HLS_BLOCK_MEMORY"
    lines = [f"HLS_PARTITION_DIM({weights}, 2)", f"{memory}({weights})"]
    start = " = {}" if unit.column_folds == 1 else ""  # a register; a memory would be cleared element by element
    return [f"{ports.inputs[0]} vector[{unit.column_folds}]{start};", *lines] if replays else lines


def _term(unit: MatrixVector, name: str) -> list[str]:
    """Statements that add the product of `x.lane[s]` and a weight to `sum`."""
    place = "weight[s]" if unit.pe == 1 else "weight[p]" if unit.simd == 1 else f"weight[p * {unit.simd} + s]"
    weight = place
    if unit.weight_code is WeightCode.CODEBOOK:
        weight = f"{number(unit.weight_bits, True)}({name}_table[{place}.to_int()])"
    is_ternary = unit.weight_code is WeightCode.TERNARY
    match unit.products:
        case Products.MULTIPLY if unit.multiplier is Multiplier.LUT:
            product = number(unit.input_bits + unit.weight_bits, True)
            return [
                f"const {product} product = x.lane[s] * {weight};",
                "HLS_MULTIPLY_IN_LUT(product)",
                "sum += product;",
            ]
        case Products.MULTIPLY:
            return [f"sum += x.lane[s] * {weight};"]
        case Products.COUNT if is_ternary:
            return [f"sum += {weight} == (x.lane[s] == 1 ? 1 : 3) ? 2 : 0;"]
        case Products.COUNT:
            return [f"sum += x.lane[s] == {weight} ? 2 : 0;"]
        case Products.SIGN:
            term = number(unit.input_bits + 1, True)
            rest = f"{term}(-x.lane[s])" if not is_ternary else f"{weight} == 0 ? {term}(0) : {term}(-x.lane[s])"
            return [f"sum += {weight} == 1 ? {term}(x.lane[s]) : {rest};"]
        case Products.SHIFT:
            term = number(unit.input_bits + unit.largest_weight.bit_length() + 1, True)
            return [f"sum += power_product<{term}, {unit.exponent_bits}>(x.lane[s], {weight});"]
        case Products.SELECT:
            term = number(unit.weight_bits + 1, True)
            return [f"sum += x.lane[s] == 1 ? {term}({weight}) : {term}(-{weight});"]


def _stored_type(unit: MatrixVector) -> str:
    return number(unit.stored_bits, unit.weight_code is WeightCode.INTEGER)


def _stored(unit: MatrixVector) -> Rows:
    """What the table holds for each weight."""
    match unit.weight_code:
        case WeightCode.INTEGER | WeightCode.TERNARY:
            return unit.weights
        case WeightCode.BIPOLAR:
            return (unit.weights + 1) >> 1
        case WeightCode.CODEBOOK:
            return np.searchsorted(np.array(unit.codebook), unit.weights)
        case WeightCode.POWER:
            _, exponents = np.frexp(np.abs(unit.weights))  # 0 for a weight of 0
            return exponents.astype(np.int64) | (unit.weights < 0).astype(np.int64) << unit.exponent_bits


def _starts(unit: MatrixVector, name: str) -> Table:
    """Where each row's sum begins: its bias; where agreeing signs are counted, what is missing if none agrees."""
    start = unit.bias
    if unit.products is Products.COUNT:
        start = start - np.abs(unit.weights).sum(1)
    return Table(f"{name}_starts", unit.accumulator_bits, start.reshape(-1, unit.pe))


def _result(unit: MatrixVector, ports: Ports) -> tuple[str, tuple[Constant, ...]]:
    """The function that makes an output beat of the accumulators, and the constants that it reads for a row fold."""
    constants = RowConstants(ports.name, unit.pe)
    if unit.thresholds:
        lines = compared("accumulator[p]", unit.thresholds, unit.outputs[0], constants)
    elif unit.shift:
        lines = [f"result.lane[p] = {_shifted(unit, constants)};"]
    else:
        lines = [f"result.lane[p] = {element(unit.outputs[0])}(accumulator[p]);"]
    text = rendered(
        "hls/kernels/result.h.j2",
        {
            "name": ports.name,
            "output": ports.outputs[0],
            "accumulator": number(unit.accumulator_bits, True),
            "pe": unit.pe,
            "takes_row": bool(constants.tables),
            "declarations": constants.declarations,
            "lines": lines,
        },
    )
    return text, tuple(constants.tables)


def _shifted(unit: MatrixVector, constants: RowConstants) -> str:
    """The accumulator through its row's shift, within the output's codes."""
    left, value = max(0, -min(unit.shift)), "accumulator[p]"
    if left:
        value = f"({number(unit.accumulator_bits + left, True)}({value}) << {left})"
    shifts = np.array(unit.shift) + left
    if shifts.min() != shifts.max():
        place = constants.read("shift", int(shifts.max()).bit_length(), False, shifts, "shifts")
        value = f"{value} >> {place}.to_int()"
    elif shifts[0]:
        value = f"{value} >> {shifts[0]}"
    return f"clamped<{element(unit.outputs[0])}>({value}, {literal(unit.lo)}, {literal(unit.hi)})"
