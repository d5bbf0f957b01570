"""RTL of the matrix-vector unit. Pipeline: fetch, operands, products, adder tree, accumulator, shift, clamp."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import MatrixVector, Multiplier, Storage

from ._parts import UnitComponent, clamped, delayed, lanes, loop_nest, packed, registered, shifted


class MatrixVectorRtl(UnitComponent):
    """See `bitkiln.ir.units.MatrixVector` for what it computes and when."""

    def __init__(self, unit: MatrixVector, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

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
        products = self._products(m, x, weights)
        first = delayed(m, go & fold.is_first, 3 + unit.tree_stages, "first", is_control=True)
        last = delayed(m, go & fold.is_last, 3 + unit.tree_stages, "last", is_control=True)
        valid = delayed(m, go, 3 + unit.tree_stages, "valid", is_control=True)
        accumulators, select = self._accumulate(m, products, valid, first, last)
        results = self._requantise(m, accumulators, select) if unit.shift else accumulators
        done = delayed(m, last, 1 + (2 if unit.shift else 0), "done", is_control=True)
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
        return lanes(registered(m, operand, "operand"), unit.input_bits, unit.input_signed)

    def _weights(self, m: Module, go: Signal) -> list[Value]:
        """The weights of a step two cycles later, lane p * SIMD + s for row p and column s."""
        unit = self.unit
        words = weight_words(unit)
        style = "block" if unit.storage is Storage.BLOCK else "logic"
        width = unit.pe * unit.simd * unit.weight_bits
        if len(words) == 1:
            return lanes(Const(words[0], width), unit.weight_bits, True)
        m.submodules.weights = memory = Memory(
            shape=unsigned(width), depth=len(words), init=words, attrs={"rom_style": style, "ram_style": style}
        )
        read = memory.read_port(domain="sync")
        address = Signal(range(len(words)))
        m.d.comb += read.addr.eq(address)
        with m.If(go):
            m.d.sync += address.eq(Mux(address == len(words) - 1, 0, address + 1))
        return lanes(registered(m, read.data, "weight"), unit.weight_bits, True)

    def _products(self, m: Module, x: list[Value], weights: list[Value]) -> list[Value]:
        """One sum of SIMD products a row, registered after the multipliers and after each level of the tree."""
        unit, sums = self.unit, []
        for p in range(unit.pe):
            terms: list[Value] = [
                registered(m, _product(x[s], weights[p * unit.simd + s], unit.multiplier), f"product_{p}_{s}")
                for s in range(unit.simd)
            ]
            for level in range(unit.tree_stages):
                pairs = [terms[n : n + 2] for n in range(0, len(terms), 2)]
                terms = [registered(m, sum(pair[1:], pair[0]), f"tree_{p}_{level}_{n}") for n, pair in enumerate(pairs)]
            sums.append(terms[0])
        return sums

    def _accumulate(
        self, m: Module, sums: list[Value], valid: Value, first: Value, last: Value
    ) -> tuple[list[Value], Value]:
        """Add the sums of a row's folds to its bias; also give the row's choice of shift, at the same time."""
        unit = self.unit
        bias, select = self._row_constants(m, last)
        accumulators: list[Value] = []
        for p, (term, start) in enumerate(zip(sums, bias, strict=True)):
            accumulator = Signal(signed(unit.accumulator_bits), name=f"accumulator_{p}", reset_less=True)
            with m.If(valid):
                m.d.sync += accumulator.eq(Mux(first, start, accumulator) + term)
            accumulators.append(accumulator)
        return accumulators, registered(m, select, "shift_select")

    def _row_constants(self, m: Module, last: Value) -> tuple[list[Value], Value]:
        """Bias of each lane and shift selectors of the row fold that is being accumulated."""
        unit = self.unit
        rounds = unit.groups * unit.row_folds
        select_bits = self._select_bits
        bits = unit.accumulator_bits
        words = [row_word(unit, number, bits, select_bits) for number in range(rounds)]
        width = unit.pe * (bits + select_bits)
        word: Value = Const(words[0], width)
        if rounds > 1:
            m.submodules.rows = memory = Memory(shape=unsigned(width), depth=rounds, init=words)
            read = memory.read_port(domain="sync")
            current, following = Signal(range(rounds)), Signal(range(rounds))
            m.d.comb += [
                following.eq(Mux(last, Mux(current == rounds - 1, 0, current + 1), current)),
                read.addr.eq(following),
            ]
            m.d.sync += current.eq(following)
            word = read.data
        return lanes(word[: unit.pe * bits], bits, True), word[unit.pe * bits :]

    @property
    def _select_bits(self) -> int:
        """Bits that choose one of the distinct shifts for a lane; 0 if all rows shift alike."""
        return (len(set(self.unit.shift)) - 1).bit_length() if self.unit.shift else 0

    def _requantise(self, m: Module, accumulators: list[Value], select: Value) -> list[Value]:
        unit, bits = self.unit, self._select_bits
        shifts = sorted(set(unit.shift))
        results: list[Value] = []
        for p, accumulator in enumerate(accumulators):
            choice = select[p * bits : (p + 1) * bits] if bits else Const(0)
            scaled = shifted(m, accumulator, shifts, choice, f"shifted_{p}")
            results.append(clamped(m, scaled, unit.lo, unit.hi, f"clamped_{p}"))
        return results


def weight_words(unit: MatrixVector) -> list[int]:
    """Memory words in the order of the steps: group, row fold, column fold; lane p * SIMD + s from the lowest bits."""
    shape = (unit.groups * unit.row_folds, unit.pe, unit.column_folds, unit.simd)
    folded = unit.weights.reshape(shape).transpose(0, 2, 1, 3).reshape(-1, unit.pe * unit.simd)
    return [_word(row, unit.weight_bits) for row in folded.tolist()]


def row_word(unit: MatrixVector, number: int, bits: int, select_bits: int) -> int:
    """Biases, then shift selectors, of the PE rows of one row fold."""
    rows = range(number * unit.pe, (number + 1) * unit.pe)
    word = _word([int(unit.bias[row]) for row in rows], bits)
    if select_bits:
        shifts = sorted(set(unit.shift))
        word |= _word([shifts.index(unit.shift[row]) for row in rows], select_bits) << (unit.pe * bits)
    return word


def _word(codes: list[int], bits: int) -> int:
    mask = (1 << bits) - 1
    return sum((code & mask) << (n * bits) for n, code in enumerate(codes))


def _product(x: Value, weight: Value, multiplier: Multiplier) -> Value:
    if multiplier is Multiplier.DSP:
        return x * weight
    return lut_product(x, weight)


def lut_product(x: Value, weight: Value) -> Value:
    """x * weight as a sum of partial products, which synthesis keeps out of the multiplier blocks."""
    partial = [Mux(weight[n], x, 0) << n for n in range(len(weight))]
    total = sum(partial[1:-1], partial[0]) - partial[-1] if len(weight) > 1 else -partial[0]
    bits = len(x) + len(weight)
    return total[:bits].as_signed() if len(total) > bits else total
