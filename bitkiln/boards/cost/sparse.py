"""The bill of the sparse matrix-vector unit."""

from __future__ import annotations

from bitkiln.ir.units import Accumulation, Multiplier, SparseMatrixVector, Storage

from .bill import Bill, Part
from .memories import Memory, Style
from .products import constant_product, dsp_blocks, lut_products, row_ending, row_fields, varying_bits


def sparse_bill(bill: Bill, unit: SparseMatrixVector) -> None:
    """A scanner, a queue and a walking element for each PE, rows in and out."""
    dense, sums = unit.dense, Accumulation.of(unit.dense)
    counts = unit.entries.counts
    count_bits = max(1, int(counts.max()).bit_length())
    longest = max(len(codes) for codes in unit.entries.codes)
    begin_bits = max(1, longest.bit_length()) if unit.skip_zeros else 0
    bill.add(Part.SPARSE, 1)
    bill.add(Part.ELEMENT, dense.pe)
    bill.counter(dense.row_folds)
    bill.counter(dense.column_folds + 1)
    bill.counter(dense.simd)
    bill.adders(1, (dense.columns + dense.simd - 1).bit_length(), Part.SUM)
    constant_product(bill, (dense.column_folds).bit_length(), dense.simd)
    fields = [(count_bits, counts.reshape(-1))]
    kept = varying_bits(fields, dense.pe)
    bill.memory(Memory(dense.columns + 1, kept + dense.pe * begin_bits), Part.PATTERN)
    bill.add(Part.MUX, (dense.simd - 1) * dense.input_bits)
    bill.add(Part.WIRE_REGISTER, dense.input_bits + 3)
    rows = row_fields(dense, sums)
    bill.memory(Memory(dense.row_folds, varying_bits(rows, dense.pe)))
    bill.add(Part.WIRE_REGISTER, dense.pe * (sums.bits + sum(bits for bits, _ in rows[1:])))  # held, and constants
    item = dense.input_bits + count_bits + begin_bits + 1
    for codes in unit.entries.codes:
        _element(bill, unit, sums.bits, (item, count_bits, max(1, len(codes))))
    row_ending(bill, dense, sums)


def _element(bill: Bill, unit: SparseMatrixVector, bits: int, sizes: tuple[int, int, int]) -> None:
    """`sizes`: bits of an item of the queue, of the number of entries left, and how many entries the element has."""
    dense, (item, left_bits, entries) = unit.dense, sizes
    places = unit.queue_places
    bill.add(Part.QUEUE, 1)
    for size in (places + 1, places + 1, places, places):
        bill.counter(size)
    bill.memory(Memory(places, item, is_written=True))
    bill.add(Part.LOGIC_REGISTER, 1 + left_bits)
    bill.adders(1, left_bits, Part.SUM)
    style = Style.BLOCK if dense.storage is Storage.BLOCK else Style.LOGIC
    bill.memory(Memory(entries, unit.entry_bits, style=style))
    bill.counter(entries)
    row = (dense.row_folds - 1).bit_length()
    bill.adders(2, row, Part.SUM)
    bill.add(Part.LOGIC_REGISTER, row)
    bill.add(Part.WIRE_REGISTER, 2 * dense.input_bits + dense.weight_bits + 2 * row + 5)
    blocks = dsp_blocks(bill, dense.input_bits, dense.weight_bits)
    if dense.multiplier is Multiplier.DSP and blocks:
        bill.dsp += blocks
        bill.add(Part.PRODUCT_REGISTER, dense.input_bits + dense.weight_bits)
    else:
        lut_products(bill, dense.input_bits, dense.weight_bits, 1)
    bill.memory(Memory(dense.row_folds, bits, is_written=True, is_transparent=True))
    bill.adders(1, bits, Part.SUM)
    bill.add(Part.GATE, bits + 2 * row)
