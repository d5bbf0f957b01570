"""The bill of each hardware unit and of a queue, as the components of `bitkiln.hdl.units` are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitkiln.boards import Board, Family
from bitkiln.ir import Stream
from bitkiln.ir.units import (
    Accumulation,
    AddStreams,
    ConcatStreams,
    Fork,
    Gather,
    LookupStream,
    MatrixVector,
    MultiplyStreams,
    Pool,
    Reduction,
    RescaleStream,
    Resize,
    SparseMatrixVector,
    Storage,
    ThresholdStream,
    TopKStream,
    Unit,
    WeightCode,
    Window,
    column_widths,
    spram_blocks,
)

from .bill import Bill, Part
from .memories import Memory, Style
from .products import (
    adder_tree,
    comparison,
    dsp_blocks,
    ending_choices,
    has_own_parities,
    product_terms,
    rescale,
    row_ending,
    row_fields,
    varying_bits,
)
from .sparse import sparse_bill
from .window import window_bill

RENEWABLE_WORDS = 64
"""Memories whose contents may be replaced are at least so deep."""

_EXACT_WORDS = 64
"""Up to so many words it is looked which bits of the weights are the same in all of them."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What depends on a unit's weights but not on its folding: known once, it need not be found for every folding."""

    sums: Accumulation
    varying_bits: int

    @classmethod
    def of(cls, unit: MatrixVector) -> Facts:
        stored = _stored(unit)
        low, high = int(np.bitwise_and.reduce(stored, axis=None)), int(np.bitwise_or.reduce(stored, axis=None))
        return cls(Accumulation.of(unit), bin((low ^ high) & ((1 << unit.stored_bits) - 1)).count("1"))


def unit_bill(unit: Unit, outputs: tuple[Stream, ...], board: Board, facts: Facts | None = None) -> Bill:
    """Return the bill of a unit with the queues at its outputs."""
    bill = Bill(board)
    bill.add(Part.UNIT, 1)
    if isinstance(unit, MatrixVector):
        _matrix_vector(bill, unit, facts or Facts.of(unit))
    else:
        _BILLS[type(unit)](bill, unit)
    for stream in outputs:
        queue(bill, stream)
    return bill


def constant_output_bits(unit: Unit) -> int:
    """Bits of an output beat that never change: the lowest of a sum of signs, whose parity is known."""
    if not isinstance(unit, MatrixVector) or unit.thresholds or unit.shift:
        return 0
    sums = Accumulation.of(unit)
    return unit.pe if sums.scale == 2 and not has_own_parities(unit, sums) else 0


def queue(bill: Bill, stream: Stream) -> None:
    """The queue of a stream: registers that shift, or a ring in memory."""
    width, depth = stream.beat.width, stream.depth
    bill.add(Part.QUEUE, 1)
    bill.counter(depth + 1)
    bill.counter(depth + 1)
    if stream.is_memory:
        bill.memory(Memory(depth, width, is_written=True))
        bill.counter(depth)
        bill.counter(depth)
    else:
        bill.add(Part.QUEUE_BIT, (depth - 1) * width)
        bill.add(Part.WIRE_REGISTER, width)


def _matrix_vector(bill: Bill, unit: MatrixVector, facts: Facts) -> None:
    sums = facts.sums
    words = unit.groups * unit.row_folds * unit.column_folds
    beat = unit.inputs[0].width
    is_replayed = unit.row_folds > 1 and unit.column_folds > 1
    bill.counter(unit.column_folds)
    bill.counter(unit.row_folds)
    bill.add(Part.WIRE_REGISTER, beat + is_replayed)
    if is_replayed:
        bill.memory(Memory(unit.column_folds, beat, is_written=True))
    bill.add(Part.LOGIC_REGISTER if is_replayed else Part.WIRE_REGISTER, beat)
    are_memories = unit.renewable or unit.storage.is_loaded
    is_constant = words == 1 and not are_memories
    if not is_constant:
        _weights(bill, unit, words, facts)
    product_terms(bill, unit, is_constant)
    adder_tree(bill, unit)
    bill.add(Part.WIRE_REGISTER, 3 * (3 + unit.tree_stages) + 1 + unit.ending_stages)
    if unit.column_folds > 1 or unit.thresholds is None or unit.thresholds.count > 1:
        bill.adders(unit.pe, sums.bits)
    else:  # of which only the sign is kept
        bill.comparators(unit.pe, sums.bits)
        bill.add(Part.WIRE_REGISTER, unit.pe)
    bill.add(Part.GATE, unit.pe * sums.bits if unit.column_folds > 1 else 0)
    fields = row_fields(unit, sums)
    rounds = unit.groups * unit.row_folds
    if rounds > 1 or are_memories:
        width = unit.pe * sum(bits for bits, _ in fields)
        kept = width if _keeps_all(bill, unit) else varying_bits(fields, unit.pe, unit.renewable)
        _constants(bill, unit, (rounds, width), kept, Style.AUTO)
        bill.counter(rounds)
        bill.add(Part.GATE, (rounds - 1).bit_length())
        bill.add(Part.WIRE_REGISTER, unit.pe * sum(bits for bits, _ in fields[1:]))
    row_ending(bill, unit, sums)


def _weights(bill: Bill, unit: MatrixVector, words: int, facts: Facts) -> None:
    width = unit.pe * unit.simd * unit.stored_bits
    kept = unit.pe * unit.simd * facts.varying_bits
    if _keeps_all(bill, unit):
        kept = width
    elif words <= _EXACT_WORDS:
        kept = varying_weight_bits(unit, words)
    style = Style.BLOCK if unit.storage is Storage.BLOCK else Style.LOGIC
    if unit.storage is Storage.BIG and bill.family is Family.ICE40:
        bill.spram += spram_blocks(unit.banks * words, width)
        _loader(bill, words, width)
    else:
        _constants(bill, unit, (words, width), kept, style)
    bill.counter(words)
    is_decoded = unit.weight_code is WeightCode.CODEBOOK
    bill.add(Part.WIRE_REGISTER, unit.pe * unit.simd * (unit.weight_bits if is_decoded else unit.stored_bits))


def _keeps_all(bill: Bill, unit: MatrixVector) -> bool:
    """Whether bits that are the same in all words are stored, too: those that others may take the place of."""
    return unit.storage.is_loaded or (unit.renewable and bill.family is Family.ICE40)


def _constants(bill: Bill, unit: MatrixVector, size: tuple[int, int], kept: int, style: Style) -> None:
    """A memory of `size` (words, bits of one) of which `kept` bits a word are stored; a host fills it by columns."""
    words, width = size
    if unit.storage.is_loaded:
        banks = (unit.banks - 1 << (words - 1).bit_length()) + words
        for bits in column_widths(width):
            bill.memory(Memory(max(banks, 2), bits, is_written=True))
        _loader(bill, words, width)
    elif unit.renewable:
        style = Style.BLOCK if unit.storage is Storage.BLOCK else Style.LOGIC
        bill.memory(Memory(-(-words // RENEWABLE_WORDS) * RENEWABLE_WORDS, kept, style=style))
    else:
        bill.memory(Memory(words, kept, style=style))


def _loader(bill: Bill, words: int, width: int) -> None:
    """What counts the words and columns that the host sends."""
    bill.counter(len(column_widths(width)))
    bill.counter(words)
    bill.add(Part.GATE, len(column_widths(width)) + (words - 1).bit_length())


def _pool(bill: Bill, unit: Pool) -> None:
    lanes, bits = unit.lanes, unit.input_bits
    bill.counter(unit.window)
    bill.add(Part.WIRE_REGISTER, lanes * bits + 3 + unit.latency - 1)
    if unit.reduction is Reduction.SUM:
        bits += unit.window.bit_length()
        bill.adders(lanes, bits)
        bill.add(Part.GATE, lanes * bits)
    else:
        bill.comparators(lanes, bits)
        bill.add(Part.LOGIC_REGISTER, lanes * bits)
    if unit.rescale:
        rescale(bill, unit.rescale, bits, lanes)


def _add(bill: Bill, unit: AddStreams) -> None:
    bits = 1 + max(unit.a.bits + unit.shifts[0], unit.b.bits + unit.shifts[1])
    bill.adders(unit.lanes, bits)
    bill.add(Part.WIRE_REGISTER, unit.latency)
    if unit.rescale:
        rescale(bill, unit.rescale, bits, unit.lanes)


def _rescale(bill: Bill, unit: RescaleStream) -> None:
    bill.add(Part.WIRE_REGISTER, unit.lanes * unit.input_bits + unit.latency)
    rescale(bill, unit.rescale, unit.input_bits, unit.lanes)


def _thresholds(bill: Bill, unit: ThresholdStream) -> None:
    lanes, values = unit.input.lanes, unit.thresholds.values
    columns = [values[:, 0], *(values[:, n] - values[:, 0] for n in range(1, values.shape[1]))]
    ends = [(min(int(column.min()), 0), max(int(column.max()), 0)) for column in columns]
    bits = [1 + max((-low - 1).bit_length() if low else 0, high.bit_length()) for low, high in ends]
    choices = np.array(ending_choices(unit.thresholds))
    choice_bits = int(choices.max()).bit_length()
    rounds = len(values) // lanes
    fields = list(zip(bits, columns, strict=True)) + ([(choice_bits, choices)] if choice_bits else [])
    if rounds > 1:
        bill.memory(Memory(rounds, varying_bits(fields, lanes)))
        bill.counter(rounds)
        bill.add(Part.WIRE_REGISTER, lanes * sum(width for width, _ in fields[1:]))
    bill.add(Part.WIRE_REGISTER, lanes * unit.input.bits + unit.latency)
    distance = 1 + max(unit.input.bits + (not unit.input.signed), bits[0])
    if unit.thresholds.count > 1:
        bill.adders(lanes, distance)
    else:  # of which only the sign is kept
        bill.comparators(lanes, distance)
        bill.add(Part.WIRE_REGISTER, lanes)
    comparison(bill, unit.thresholds, distance, lanes, unit.output.bits)


def _lookup(bill: Bill, unit: LookupStream) -> None:
    lanes, bits = unit.input.lanes, unit.output.bits
    codes = np.array([unit.output.field(code) for code in unit.table])
    bill.memory(Memory(len(codes), varying_bits([(bits, codes)], 1), reads=lanes))
    bill.add(Part.WIRE_REGISTER, lanes * bits + unit.LATENCY)


def _multiply(bill: Bill, unit: MultiplyStreams) -> None:
    lanes, product = unit.a.lanes, unit.a.bits + unit.b.bits
    bill.add(Part.WIRE_REGISTER, lanes * product + unit.LATENCY)
    blocks = dsp_blocks(bill, unit.a.bits, unit.b.bits)
    bill.dsp += lanes * blocks
    bill.add(Part.PARTIAL, 0 if blocks else lanes * unit.a.bits * unit.b.bits)
    bill.add(Part.PRODUCT_REGISTER, lanes * product)
    rescale(bill, unit.rescale, product, lanes)


def _gather(bill: Bill, unit: Gather) -> None:
    size = unit.block_beats
    place = (unit.PLACES * size - 1).bit_length()
    bits = max(1, (size - 1).bit_length())
    words = np.where(unit.source < 0, 1 << bits, unit.source)
    bill.memory(Memory(unit.PLACES * size, unit.beat.width, is_written=True))
    if len(words) > 1:
        bill.memory(Memory(len(words), varying_bits([(bits + 1, words)], 1)), Part.PATTERN)
    for count in (size, unit.PLACES, len(words), unit.PLACES, unit.PLACES + 1, unit.PLACES + 1):
        bill.counter(count)
    bill.add(Part.WIRE_REGISTER, unit.RELEASE_DELAY + unit.LATENCY + 2)
    bill.adders(2, place, Part.SUM)
    bill.add(Part.GATE, unit.beat.width if unit.has_zeros else 0)


def _concat(bill: Bill, unit: ConcatStreams) -> None:
    bill.counter(len(unit.parts))
    bill.counter(max(unit.parts))
    bill.add(Part.GATE, (len(unit.parts) - 1) * unit.beat.width + (max(unit.parts) - 1).bit_length())


def _top_k(bill: Bill, unit: TopKStream) -> None:
    bill.counter(unit.steps)
    bill.comparators(unit.k, unit.input_bits)
    bill.add(Part.MUX, (unit.k - 1) * (unit.input_bits + 2 * unit.bits))
    bill.add(Part.WIRE_REGISTER, unit.k * (unit.input_bits + unit.bits) + 1)


def _resize(bill: Bill, unit: Resize) -> None:
    narrow = min(unit.lanes_in, unit.lanes_out) * unit.bits
    bill.counter(unit.ratio)
    if unit.lanes_in > unit.lanes_out:
        bill.add(Part.MUX, (unit.ratio - 1) * narrow)
    else:
        bill.add(Part.WIRE_REGISTER, (unit.ratio - 1) * narrow)


def _fork(bill: Bill, unit: Fork) -> None:
    bill.add(Part.GATE, unit.ways)


_BILLS: Mapping[type[Unit], Callable[[Bill, Any], None]] = {
    SparseMatrixVector: sparse_bill,
    Window: window_bill,
    Pool: _pool,
    AddStreams: _add,
    RescaleStream: _rescale,
    ThresholdStream: _thresholds,
    LookupStream: _lookup,
    MultiplyStreams: _multiply,
    Gather: _gather,
    ConcatStreams: _concat,
    TopKStream: _top_k,
    Resize: _resize,
    Fork: _fork,
}


def varying_weight_bits(unit: MatrixVector, words: int) -> int:
    """Bits of a weight memory's word that are not the same in every word."""
    stored = _stored(unit)
    bits = unit.stored_bits
    folded = stored.reshape(unit.groups * unit.row_folds, unit.pe, unit.column_folds, unit.simd)
    words_first = folded.transpose(0, 2, 1, 3).reshape(words, -1)
    if unit.renewable and words % RENEWABLE_WORDS:
        words_first = np.vstack([words_first, np.zeros_like(words_first[:1])])
    changes = np.bitwise_and.reduce(words_first, axis=0) ^ np.bitwise_or.reduce(words_first, axis=0)
    return int(np.bitwise_count(changes & ((1 << bits) - 1)).sum())


def _stored(unit: MatrixVector) -> NDArray[np.int64]:
    """What the memory holds for each weight."""
    match unit.weight_code:
        case WeightCode.BIPOLAR:
            return (1 - unit.weights) >> 1
        case WeightCode.CODEBOOK:
            return np.searchsorted(np.array(unit.codebook), unit.weights)
        case WeightCode.POWER:
            exponents = np.frexp(np.abs(unit.weights))[1].astype(np.int64)
            return exponents | (unit.weights < 0).astype(np.int64) << unit.exponent_bits
        case WeightCode.INTEGER | WeightCode.TERNARY:
            return unit.weights
