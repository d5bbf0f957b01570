"""Small pieces that several units are built from: loop counters, delay lines, lanes, rescaling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bitkiln.ir import Stream
from bitkiln.ir.units import Rescale, Unit

from ._queue import Queue


class UnitComponent(wiring.Component):
    """RTL of one unit: input streams `i0`, `i1`, ..., output streams `o0`, ..., each output behind its queue."""

    def __init__(
        self, unit: Unit, outputs: Sequence[Stream], others: Mapping[str, wiring.Member] | None = None
    ) -> None:
        self.outputs = outputs
        ports = {f"i{n}": In(stream.Signature(unsigned(beat.width))) for n, beat in enumerate(unit.inputs)}
        ports |= {f"o{n}": Out(stream.Signature(unsigned(beat.width))) for n, beat in enumerate(unit.outputs)}
        super().__init__(ports | dict(others or {}))

    def queues(self, m: Module) -> list[Queue]:
        """Add the output queues and connect them to the output ports."""
        queues = [Queue(out.beat.width, out.depth, out.is_memory) for out in self.outputs]
        for number, queue in enumerate(queues):
            m.submodules[f"queue{number}"] = queue
            wiring.connect(m, wiring.flipped(getattr(self, f"o{number}")), queue.o)
        return queues

    def taken_together(self, m: Module, queue: Queue) -> Signal:
        """Take a beat of `i0` and `i1` in the same cycle, when the queue has room; the signal is high then."""
        go = Signal()
        m.d.comb += [
            go.eq(queue.room & self.i0.valid & self.i1.valid),
            self.i0.ready.eq(queue.room & self.i1.valid),
            self.i1.ready.eq(queue.room & self.i0.valid),
            queue.issue.eq(go),
        ]
        return go


@dataclass(frozen=True, eq=False)
class Loop:
    """One counter of a loop nest: its value, and whether it is in its first and last round."""

    index: Signal
    is_first: Value
    is_last: Value


def loop_nest(m: Module, advance: Value, sizes: Sequence[tuple[str, int]]) -> list[Loop]:
    """Make nested counters, innermost first, that step when `advance` is high."""
    loops: list[Loop] = []
    carry = advance
    for name, size in sizes:
        index = Signal(range(size), name=name)
        is_last = index == size - 1 if size > 1 else Const(1)
        if size > 1:
            with m.If(carry):
                m.d.sync += index.eq(Mux(is_last, 0, index + 1))
        loops.append(Loop(index, index == 0 if size > 1 else Const(1), is_last))
        carry = carry & is_last
    return loops


def delayed(m: Module, value: Value, cycles: int, name: str, *, is_control: bool = False) -> Value:
    """Return `value` as it was `cycles` cycles ago. Control lines reset to 0; data lines have no reset."""
    for number in range(cycles):
        stage = Signal(value.shape(), name=f"{name}_{number + 1}", reset_less=not is_control)
        m.d.sync += stage.eq(value)
        value = stage
    return value


def registered(m: Module, value: Value, name: str, enable: Value | None = None) -> Signal:
    """Return a data register (no reset) that takes `value` each cycle, or each cycle with `enable`."""
    register = Signal(value.shape(), name=name, reset_less=True)
    with m.If(Const(1) if enable is None else enable):
        m.d.sync += register.eq(value)
    return register


def tree(m: Module, terms: Sequence[Value], stages: int, name: str) -> Value:
    """The sum of `terms`, in pairs and registered after each of `stages` levels."""
    for level in range(stages):
        pairs = [terms[n : n + 2] for n in range(0, len(terms), 2)]
        terms = [registered(m, sum(pair[1:], pair[0]), f"{name}_{level}_{n}") for n, pair in enumerate(pairs)]
    return terms[0]


def lanes(payload: Value, bits: int, is_signed: bool) -> list[Value]:
    """Split a beat into its elements."""
    count = len(payload) // bits
    elements = [payload[n * bits : (n + 1) * bits] for n in range(count)]
    return [element.as_signed() for element in elements] if is_signed else elements


def packed(values: Sequence[Value], bits: int) -> Value:
    """Join elements to a beat, each cut to `bits` bits."""
    return Cat(*(_resized(value, bits) for value in values))


def _resized(value: Value, bits: int) -> Value:
    element = Signal(Shape(bits, value.shape().signed)) if len(value) < bits else None
    if element is None:
        return value[:bits]
    extension = Const(0, bits - len(value)) if not value.shape().signed else value[-1].replicate(bits - len(value))
    return Cat(value, extension)


def table(m: Module, index: Signal, values: Sequence[int], name: str) -> Signal:
    """Look up a constant by `index`, in logic; the commonest value is the default."""
    result = Signal(_shape_of(min(values), max(values)), name=name)
    default = Counter(values).most_common(1)[0][0]
    m.d.comb += result.eq(default)
    if any(value != default for value in values):
        with m.Switch(index):
            for position, value in enumerate(values):
                if value != default:
                    with m.Case(position):
                        m.d.comb += result.eq(value)
    return result


def _shape_of(low: int, high: int) -> Shape:
    if low < 0:
        return signed(1 + max((-low - 1).bit_length(), high.bit_length()))
    return unsigned(max(1, high.bit_length()))


def rescaled(m: Module, x: Value, how: Rescale, name: str) -> Value:
    """The three registered stages of a Rescale: multiply and round, shift, clamp."""
    product = registered(m, x * how.multiplier + how.half, f"{name}_product")
    return clamped(m, shifted(m, product, (how.shift,), Const(0), f"{name}_shifted"), how.lo, how.hi, f"{name}_clamped")


def shifted(m: Module, x: Value, shifts: Sequence[int], select: Value, name: str) -> Signal:
    """Register x shifted right by one of `shifts` (left where negative), chosen by `select`."""
    results = [x >> shift if shift >= 0 else x << -shift for shift in shifts]
    chosen = results[0]
    for number, result in enumerate(results[1:], 1):
        chosen = Mux(select == number, result, chosen)
    return registered(m, chosen, name)


def clamped(m: Module, x: Value, lo: int, hi: int, name: str) -> Signal:
    """Register x limited to lo..hi."""
    result = Signal(_shape_of(lo, hi), name=name, reset_less=True)
    m.d.sync += result.eq(Mux(x > hi, hi, Mux(x < lo, lo, x)))
    return result
