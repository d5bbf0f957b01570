"""Chains of full adders in CCU2C, the carry cells of ECP5, a sum's carry out and the next carry in sharing half a cell.

One half is a full adder whose two operands may be XORs, the next passes the carry out and injects the XOR of two more
bits as the following adder's carry in: three bits take two halves, and an adder of two numbers of k bits and one bit
more takes k + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Const, Instance, Module, Signal, Value


@dataclass(frozen=True, eq=False)
class Pair:
    """Two bits whose XOR is meant."""

    a: Value
    b: Value = field(default_factory=lambda: Const(0, 1))

    @property
    def differs(self) -> Value:
        """The XOR."""
        is_zero = isinstance(self.b, Const) and not self.b.value
        return self.a if is_zero else self.a ^ self.b


ZERO = Pair(Const(0, 1))
_ONES = Pair(Const(1, 1), Const(1, 1))

_ADD, _PASS = 0x6996, 0x0006  # whose generate is the table at C = D = 0


@dataclass(frozen=True, eq=False)
class _Link:
    """Adds two pairs and the carry in, or (without `second`) gives out the carry in and carries `first` on."""

    first: Pair
    second: Pair | None
    output: Signal | None


@dataclass(eq=False)
class CarryChains:
    """Links in a row, cut into chains of at most `most`: a chain's carry is slow, and nextpnr adds two cells to it."""

    m: Module
    name: str
    most: int
    number: int = 0
    links: list[_Link] = field(default_factory=list)
    pending: Signal | None = None

    def added(self, a: Sequence[Pair], b: Sequence[Pair], carry: Pair) -> list[Value]:
        """Return the bits of a + b + carry; `a` has no fewer than `b`."""
        if len(self.links) + len(a) + 2 > self.most:
            self.close()
        self._pass(carry)
        bits: list[Value] = []
        for first, second in zip(a, [*b, *[ZERO] * (len(a) - len(b))], strict=True):
            bits.append(Signal())
            self.links.append(_Link(first, second, bits[-1]))
        self.pending = Signal()
        return [*bits, self.pending]

    def close(self) -> None:
        """Add the cells; what is added then begins a chain of its own."""
        if not self.links:
            return
        for _ in range(1 + (len(self.links) + 1) % 2):
            self._pass(ZERO)
        self._add_cells()
        self.number, self.links = self.number + 1, []

    def _pass(self, carry: Pair) -> None:
        """Give the carry of the adder before; the pair's XOR becomes the carry of the adder behind."""
        self.links.append(_Link(carry, None, self.pending))
        self.pending = None

    def _add_cells(self) -> None:
        """A cell for two links."""
        carry: Value = Const(0, 1)
        for n in range(0, len(self.links), 2):
            following = Signal()
            ports: list[tuple[str, str, object]] = [("i", "CIN", carry), ("o", "COUT", following)]
            for side, link in enumerate(self.links[n : n + 2]):
                second = link.second or _ONES
                inputs = (link.first.a, link.first.b, second.a, second.b)
                table = _ADD if link.second else _PASS
                ports += [("i", f"{pin}{side}", value) for pin, value in zip("ABCD", inputs, strict=True)]
                ports += [("p", f"INIT{side}", Const(table, 16)), ("p", f"INJECT1_{side}", "NO")]
                ports.append(("o", f"S{side}", Signal() if link.output is None else link.output))
            self.m.submodules[f"{self.name}_{self.number}_{n}"] = Instance("CCU2C", *ports)
            carry = following
