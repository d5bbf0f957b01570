"""Counts of ones, each bit the XOR of two: groups of three and a tree of adders, or carry chains on ECP5.

Both give the count after the same ranks of registers. In a chain of CCU2C one half is a full adder whose two operands
may be XORs, the next passes the carry out and injects the XOR of two more bits as the following adder's carry in: three
bits take two halves, and an adder of two numbers of k bits and one bit more takes k + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from amaranth.hdl import Cat, Const, Instance, Module, Mux, Signal, Value

from bitkiln.ir.units import count_stages

from ._parts import delayed, registered, tree
from ._target import Target

Pair = tuple[Value, Value]
"""Two bits whose XOR is counted."""

ZERO: Pair = (Const(0, 1), Const(0, 1))
ONES: Pair = (Const(1, 1), Const(1, 1))

_ADD, _INJECT = 0x6996, 0x0006  # of CCU2C, whose generate is the table at C = D = 0
_PARITY_4, _PARITY_3, _CARRY, _PASS, _SUM = 0x6996, 0x9696, 0x2772, 0xFF00, 0xC33C  # of SB_LUT4


class CountForm(Enum):
    """What a count is made for: few cells, or a short clock. The cycles are the same.

    COMPACT has one chain of ECP5's carry cells, which takes nextpnr two cells more however long it is, and on iCE40 no
    registers behind the threes, which cells whose LUT has two users do not have. FAST has chains of 16 halves at most.
    """

    COMPACT = "compact"
    FAST = "fast"

    @property
    def halves(self) -> int:
        """The longest chain."""
        return 256 if self is CountForm.COMPACT else 16


def counted(
    m: Module,
    pairs: Sequence[Pair],
    target: Target,
    name: str,
    *,
    form: CountForm = CountForm.COMPACT,
    is_constant: bool = False,
) -> Value:
    """Return how many of `pairs` are two different bits, `count_stages(len(pairs))` cycles later.

    With `is_constant` one bit of each pair is, and logic folds it.
    """
    threes = [pairs[n : n + 3] for n in range(0, len(pairs), 3)]
    stages = count_stages(len(pairs)) - 1
    match target:
        case Target.ECP5:
            total = _chained(m, pairs, name, form.halves)
        case Target.ICE40:
            make = _counted_three if is_constant else _named_three
            counts = [make(m, three) for three in threes]
            if form is CountForm.FAST or not stages:
                counts = [registered(m, count, f"{name}_three_{n}") for n, count in enumerate(counts)]
            total = _named_tree(m, counts, stages, name)
            if form is CountForm.COMPACT and stages:
                total = registered(m, total, f"{name}_late")
        case Target.PLAIN:
            counts = [registered(m, _counted_three(m, three), f"{name}_three_{n}") for n, three in enumerate(threes)]
            total = tree(m, counts, stages, name)
    return total[: len(pairs).bit_length()]


def _counted_three(m: Module, pairs: Sequence[Pair]) -> Value:
    """The count of up to three."""
    bits = [a ^ b for a, b in pairs]
    if len(bits) == 1:
        return bits[0]
    parity = bits[0] ^ bits[1]
    if len(bits) == 2:
        return Cat(parity, bits[0] & bits[1])
    total = parity ^ bits[2]
    return Cat(total, Mux(parity, ~total, bits[0]))


def _named_three(m: Module, pairs: Sequence[Pair]) -> Value:
    """The count of three in three SB_LUT4: logic synthesis takes four or five."""
    if len(pairs) < 3:
        return _counted_three(m, pairs)
    parity = _lut(m, _PARITY_4, (*pairs[0], *pairs[1]))
    total = _lut(m, _PARITY_3, (parity, *pairs[2]))
    return Cat(total, _lut(m, _CARRY, (parity, total, *pairs[0])))


def _lut(m: Module, entries: int, inputs: Sequence[Value]) -> Signal:
    """An SB_LUT4."""
    output = Signal()
    padded = [*inputs, *[Const(0, 1)] * (4 - len(inputs))]
    ports = [("i", f"I{n}", value) for n, value in enumerate(padded)]
    m.submodules += Instance("SB_LUT4", ("p", "LUT_INIT", Const(entries, 16)), *ports, ("o", "O", output))
    return output


def _named_tree(m: Module, terms: Sequence[Value], stages: int, name: str) -> Value:
    """As `tree`; the highest bit of a sum is a LUT of its own, so that its register is in the same cell."""
    for level in range(stages):
        sums = [_named_sum(m, terms[n], terms[n + 1]) for n in range(0, len(terms) - 1, 2)]
        sums += terms[len(terms) // 2 * 2 :]
        terms = [registered(m, total, f"{name}_{level}_{n}") for n, total in enumerate(sums)]
    return terms[0]


def _named_sum(m: Module, a: Value, b: Value) -> Value:
    bits: list[Value] = []
    carry: Value = Const(0, 1)
    zero = Const(0, 1)
    for n in range(max(len(a), len(b))):
        pair = (a[n] if n < len(a) else zero, b[n] if n < len(b) else zero)
        bits.append(_lut(m, _SUM, (zero, *pair, carry)))
        following = Signal()
        ports = (("i", "I0", pair[0]), ("i", "I1", pair[1]), ("i", "CI", carry), ("o", "CO", following))
        m.submodules += Instance("SB_CARRY", *ports)
        carry = following
    return Cat(*bits, _lut(m, _PASS, (zero, zero, zero, carry)))


@dataclass(eq=False)
class _Chains:
    """Halves of CCU2C in a row, cut into chains of at most `most`; each has inputs A to D, a table and an output."""

    m: Module
    name: str
    most: int
    number: int = 0
    halves: list[tuple[tuple[Value, ...], int, Signal]] = field(default_factory=list)
    pending: Signal | None = None

    def added(self, a: Sequence[Pair], b: Sequence[Pair], carry: Pair) -> list[Value]:
        """Return the bits of a + b + carry; `a` has no fewer than `b`."""
        if len(self.halves) + len(a) + 2 > self.most:
            self.close()
        self._inject(carry)
        bits: list[Value] = []
        for first, second in zip(a, [*b, *[ZERO] * (len(a) - len(b))], strict=True):
            bits.append(self._half((*first, *second), _ADD))
        self.pending = Signal()
        return [*bits, self.pending]

    def close(self) -> None:
        """Add the cells, two halves each."""
        if not self.halves:
            return
        for _ in range(1 + (len(self.halves) + 1) % 2):
            self._inject(ZERO)
        carry: Value = Const(0, 1)
        for n in range(0, len(self.halves), 2):
            following = Signal()
            ports: list[tuple[str, str, object]] = [("i", "CIN", carry), ("o", "COUT", following)]
            for side, (inputs, entries, output) in enumerate(self.halves[n : n + 2]):
                ports += [("i", f"{pin}{side}", value) for pin, value in zip("ABCD", inputs, strict=True)]
                ports += [("p", f"INIT{side}", Const(entries, 16)), ("p", f"INJECT1_{side}", "NO")]
                ports.append(("o", f"S{side}", output))
            self.m.submodules[f"{self.name}_{self.number}_{n}"] = Instance("CCU2C", *ports)
            carry = following
        self.number, self.halves, self.pending = self.number + 1, [], None

    def _inject(self, pair: Pair) -> None:
        """Give the carry of the adder before; the pair's XOR becomes the carry of the adder behind."""
        self._half((*pair, *ONES), _INJECT, self.pending)
        self.pending = None

    def _half(self, inputs: tuple[Value, ...], entries: int, output: Signal | None = None) -> Signal:
        output = Signal() if output is None else output
        self.halves.append((inputs, entries, output))
        return output


@dataclass(frozen=True, eq=False)
class _Node:
    """A count of `pairs`: of two smaller counts and one pair, of one count and one pair, or of three pairs."""

    pairs: tuple[Pair, ...]

    @property
    def rank(self) -> int:
        return max(1, len(self.pairs).bit_length() - 1)

    @cached_property
    def parts(self) -> tuple[tuple[_Node, ...], Pair]:
        """What is added up in the last rank of a node of more than three pairs."""
        *rest, last = self.pairs
        if len(self.pairs).bit_count() == 1:
            return (_Node(tuple(rest)),), last
        half = (len(rest) + 1) // 2
        return (_Node(tuple(rest[:half])), _Node(tuple(rest[half:]))), last


def _chained(m: Module, pairs: Sequence[Pair], name: str, halves: int) -> Value:
    top = _Node(tuple(pairs))
    by_rank: dict[int, list[_Node]] = {}
    open_nodes = [top]
    while open_nodes:
        node = open_nodes.pop()
        by_rank.setdefault(node.rank, []).append(node)
        open_nodes += node.parts[0] if len(node.pairs) > 3 else ()
    chains = _Chains(m, name, halves)
    found: dict[_Node, Value] = {}
    for rank in sorted(by_rank):
        sums = {node: _added(m, chains, node, found, f"{name}_{rank}_{n}") for n, node in enumerate(by_rank[rank])}
        found |= {node: registered(m, total, f"{name}_{rank}_{n}") for n, (node, total) in enumerate(sums.items())}
    chains.close()
    return delayed(m, found[top], count_stages(len(pairs)) - top.rank, f"{name}_late")


def _added(m: Module, chains: _Chains, node: _Node, found: dict[_Node, Value], name: str) -> Value:
    """The count of a node whose parts are found, to be registered."""
    if len(node.pairs) == 1:
        a, b = node.pairs[0]
        return a ^ b
    if len(node.pairs) <= 3:
        carry = node.pairs[2] if len(node.pairs) == 3 else ZERO
        return Cat(*chains.added([node.pairs[0]], [node.pairs[1]], carry))
    parts, (a, b) = node.parts
    late = (delayed(m, a, node.rank - 1, f"{name}_a"), delayed(m, b, node.rank - 1, f"{name}_b"))
    numbers = [[(bit, ZERO[0]) for bit in found[part]] for part in parts]
    return Cat(*chains.added(numbers[0], numbers[1] if len(numbers) > 1 else [], late))
