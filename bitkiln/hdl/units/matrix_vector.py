"""RTL of the matrix-vector unit. Pipeline: fetch, operands, products, adder tree, accumulator, shift, clamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.memory import Memory
from numpy.typing import NDArray

from bitkiln.ir import Stream
from bitkiln.ir.units import Accumulation, MatrixVector, WeightCode

from ._constants import ROWS, WEIGHTS, Constants
from ._endings import Ending, RowField, joined, row_word
from ._parts import UnitComponent, delayed, lanes, loop_nest, packed, registered, table
from ._products import summed_products
from ._target import Target


class MatrixVectorRtl(UnitComponent):
    """See `bitkiln.ir.units.MatrixVector` for what it computes and when; the clock decides the form of counts."""

    def __init__(self, unit: MatrixVector, outputs: tuple[Stream, ...], clock_hz: float = 0) -> None:
        self.unit, self._clock_hz = unit, clock_hz
        self._constants = Constants(unit)
        super().__init__(unit, outputs, self._constants.ports)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        fold, row = loop_nest(m, go, (("column_fold", unit.column_folds), ("row_fold", unit.row_folds)))
        may_give = queue.room | ~fold.is_last
        m.d.comb += [
            self.i0.ready.eq(row.is_first & may_give),
            go.eq(may_give & (self.i0.valid | ~row.is_first)),
            queue.issue.eq(go & fold.is_last),
        ]
        x = self._operand(m, go, row.is_first, fold.index)
        weights = self._weights(m, go)
        products = summed_products(m, unit, x, weights, Target.of(platform), self._clock_hz)
        first = delayed(m, go & fold.is_first, 3 + unit.term_stages, "first", is_control=True)
        last = delayed(m, go & fold.is_last, 3 + unit.term_stages, "last", is_control=True)
        valid = delayed(m, go, 3 + unit.term_stages, "valid", is_control=True)
        ending = Ending.of(unit, Accumulation.of(unit))
        accumulators, constants = self._accumulate(m, products, (valid, first, last), ending)
        if unit.storage.is_loaded:
            self._constants.connect(m, self)
        results = [ending.finish(m, accumulators[p], constants[p], p) for p in range(unit.pe)]
        done = delayed(m, last, 1 + unit.ending_stages, "done", is_control=True)
        m.d.comb += [queue.push.eq(done), queue.payload.eq(packed(results, unit.bits))]
        return m

    def _operand(self, m: Module, go: Signal, is_fresh: Value, fold: Signal) -> list[Value]:
        """The input beat, one cycle after its step: fresh in the first row fold, replayed in the others."""
        unit, fresh = self.unit, registered(m, self.i0.payload, "fresh", go & is_fresh)
        if unit.row_folds > 1 and unit.column_folds > 1:
            m.submodules.replay = buffer = Memory(shape=unsigned(len(fresh)), depth=unit.column_folds, init=[])
            write, read = buffer.write_port(), buffer.read_port(domain="sync")
            is_replayed = Signal()
            m.d.comb += [
                write.addr.eq(fold),
                write.data.eq(self.i0.payload),
                write.en.eq(go & is_fresh),
                read.addr.eq(fold),
            ]
            m.d.sync += is_replayed.eq(~is_fresh)
            operand = Mux(is_replayed, read.data, fresh)
        else:
            operand = fresh
        return lanes(operand, unit.input_bits, unit.input_signed)

    def _weights(self, m: Module, go: Signal) -> list[Value]:
        """The weights of a step one cycle later, lane p * SIMD + s for row p and column s."""
        unit = self.unit
        words = weight_words(unit)
        width = unit.pe * unit.simd * unit.stored_bits
        if unit.is_unrolled:
            return self._decoded(m, lanes(Const(words[0], width), unit.stored_bits, False))
        address = Signal(range(len(words)))
        with m.If(go):
            m.d.sync += address.eq(Mux(address == len(words) - 1, 0, address + 1))
        word = self._constants.read(m, WEIGHTS, words, width, address)
        return self._decoded(m, lanes(word, unit.stored_bits, False))

    def _decoded(self, m: Module, stored: list[Value]) -> list[Value]:
        """Codes of integer weights; others stay as they are stored."""
        unit = self.unit
        match unit.weight_code:
            case WeightCode.INTEGER:
                return [weight.as_signed() for weight in stored]
            case WeightCode.CODEBOOK:
                return [self._looked_up(m, weight, n) for n, weight in enumerate(stored)]
            case WeightCode.BIPOLAR | WeightCode.TERNARY | WeightCode.POWER:
                return stored

    def _looked_up(self, m: Module, stored: Value, lane: int) -> Value:
        index, code = Signal(len(stored), name=f"index_{lane}"), Signal(signed(self.unit.weight_bits))
        m.d.comb += [index.eq(stored), code.eq(table(m, index, self.unit.codebook, f"code_{lane}"))]
        return code

    def _accumulate(
        self, m: Module, sums: list[Value], flags: tuple[Value, Value, Value], ending: Ending
    ) -> tuple[list[Value], list[list[Value]]]:
        """Add the sums of a row's folds to its start; also give each row's other constants, at the same time."""
        valid, first, last = flags
        accumulation = ending.sums
        found = self._row_constants(m, last, row_fields(ending))
        accumulators: list[Value] = []
        for p, term in enumerate(sums):
            accumulator = Signal(signed(accumulation.bits), name=f"accumulator_{p}", reset_less=True)
            with m.If(valid):
                m.d.sync += accumulator.eq(Mux(first, found[0][p].as_signed(), accumulator) + term)
            accumulators.append(accumulator)
        kept = [
            [registered(m, field[p], f"constant_{n}_{p}") for n, field in enumerate(found[1:])]
            for p in range(self.unit.pe)
        ]
        return accumulators, kept

    def _row_constants(self, m: Module, last: Value, fields: Sequence[RowField]) -> list[list[Value]]:
        """[field][PE row] of the row fold that is being accumulated."""
        unit = self.unit
        rounds = unit.groups * unit.row_folds
        words = [row_word(fields, unit.pe, number) for number in range(rounds)]
        width = unit.pe * sum(field.bits for field in fields)
        word: Value = Const(words[0], width)
        if rounds > 1 or self._constants.are_memories:
            current, following = Signal(range(rounds)), Signal(range(rounds))
            m.d.comb += following.eq(Mux(last, Mux(current == rounds - 1, 0, current + 1), current))
            m.d.sync += current.eq(following)
            word = self._constants.read(m, ROWS, words, width, following)
        found, offset = [], 0
        for field in fields:
            found.append(lanes(word[offset : offset + unit.pe * field.bits], field.bits, False))
            offset += unit.pe * field.bits
        return found


def row_fields(ending: Ending) -> tuple[RowField, ...]:
    """The constants of a row: where its accumulator starts, and what its ending takes."""
    return (RowField(ending.sums.bits, tuple(ending.sums.start.tolist())), *ending.fields)


def weight_words(unit: MatrixVector) -> list[int]:
    """Memory words in the order of the steps: group, row fold, column fold; lane p * SIMD + s from the lowest bits."""
    shape = (unit.groups * unit.row_folds, unit.pe, unit.column_folds, unit.simd)
    folded = _stored(unit).reshape(shape).transpose(0, 2, 1, 3).reshape(-1, unit.pe * unit.simd)
    return [joined(row, unit.stored_bits) for row in folded.tolist()]


def _stored(unit: MatrixVector) -> NDArray[np.int64]:
    """What the memory holds for each weight."""
    match unit.weight_code:
        case WeightCode.INTEGER | WeightCode.TERNARY:
            return unit.weights
        case WeightCode.BIPOLAR:
            return (1 - unit.weights) >> 1
        case WeightCode.CODEBOOK:
            return np.searchsorted(np.array(unit.codebook), unit.weights)
        case WeightCode.POWER:
            _, exponents = np.frexp(np.abs(unit.weights))  # 0 for a weight of 0
            signs = (unit.weights < 0).astype(np.int64)
            return exponents.astype(np.int64) | signs << unit.exponent_bits
