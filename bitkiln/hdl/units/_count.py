"""Counts of ones, each bit the XOR of two: small counts, and a tree of adders over them.

On ECP5 each adder takes two counts and one bit more, so that counts of 3, 7, 15, ... bits fill all codes of their
widths. On iCE40 the carry of a chain costs a cell, and only counts of seven have such a bit. With constants (the XOR
inverts, or does nothing) threes of the same inputs and signs are made once for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from amaranth.hdl import Cat, Const, Module, Mux, Value

from bitkiln.ir.units import count_stages

from ._carry_chain import ZERO, CarryChains, Pair
from ._ice40_adders import count_of_seven, count_of_three, summed
from ._parts import delayed, registered, tree
from ._target import Target


class CountForm(Enum):
    """What a count is made for: few cells, or a short clock. The cycles are the same.

    COMPACT has one chain of ECP5's carry cells, which takes nextpnr two cells more however long it is, and on iCE40 no
    registers behind threes, which cells whose LUT has two users do not have. FAST has chains of 16 halves at most.
    """

    COMPACT = "compact"
    FAST = "fast"

    @property
    def halves(self) -> int:
        """The longest chain."""
        return 256 if self is CountForm.COMPACT else 16

    @classmethod
    def of(cls, target: Target, bits: int, clock_hz: float) -> CountForm:
        """The smallest form that meets the clock: one carry chain for all bits takes ECP5 0.06 ns a bit.

        `python benchmarks/xnor_cells.py 64 128 256` printed 171, 108 and 88 MHz on ECP5-25F, 215, 215 and 190
        MHz on iCE40 HX8K.
        """
        period_ns = 3 + 0.06 * bits if target is Target.ECP5 else 5.5
        return cls.COMPACT if clock_hz * period_ns <= 1e9 else cls.FAST


@dataclass(eq=False)
class Counter:
    """Adds counts of pairs that differ to a module; what several counts have in common is made once.

    With `is_constant` the second bit of each pair is, and pairs of the same bits are the same object.
    """

    m: Module
    target: Target
    form: CountForm = CountForm.COMPACT
    is_constant: bool = False
    _found: dict[tuple[Pair, ...], Value] = field(default_factory=dict, init=False)
    _late: dict[tuple[Pair, int], Pair] = field(default_factory=dict, init=False)

    def counted(self, pairs: Sequence[Pair], stages: int, name: str) -> Value:
        """Return how many of `pairs` differ, `stages` cycles later, which are no fewer than `count_stages` of them."""
        if not pairs:
            return Const(0, 1)
        match self.target:
            case Target.ECP5:
                total, ranks = self._chained(_Node(tuple(pairs)), name)
            case Target.ICE40 if self.form is CountForm.COMPACT and len(pairs) > 3:
                total, ranks = self._by_sevens(pairs, name)
            case _:
                threes = [pairs[n : n + 3] for n in range(0, len(pairs), 3)]
                counts = [registered(self.m, self._three(three), f"{name}_three_{n}") for n, three in enumerate(threes)]
                total, ranks = self._tree(counts, (), name)
                ranks += 1
        return delayed(self.m, total, stages - ranks, f"{name}_late")[: len(pairs).bit_length()]

    def _three(self, pairs: Sequence[Pair]) -> Value:
        """The count of up to three."""
        if len(pairs) == 3 and self.target is Target.ICE40 and not self.is_constant:
            return count_of_three(self.m, pairs)
        bits = [pair.differs for pair in pairs]
        if len(bits) == 1:
            return bits[0]
        parity = bits[0] ^ bits[1]
        if len(bits) == 2:
            return Cat(parity, bits[0] & bits[1])
        total = parity ^ bits[2]
        return Cat(total, Mux(parity, ~total, bits[0]))

    def _shared_three(self, pairs: tuple[Pair, ...]) -> Value:
        """The count of up to three, of constants a register that all rows use."""
        if not self.is_constant:
            return self._three(pairs)
        if pairs not in self._found:
            self._found[pairs] = registered(self.m, self._three(pairs), f"three_{len(self._found)}")
        return self._found[pairs]

    def _by_sevens(self, pairs: Sequence[Pair], name: str) -> tuple[Value, int]:
        """The count, and the ranks of registers that it takes; what is left over is carried into the first sums."""
        groups = [tuple(pairs[n : n + 7]) for n in range(0, len(pairs), 7)]
        extra: tuple[Pair, ...] = ()
        if len(groups[-1]) <= (len(groups) - 1) // 2:
            *groups, extra = groups
        ranks = 1 + self.is_constant
        counts = [registered(self.m, self._seven(group), f"{name}_seven_{n}") for n, group in enumerate(groups)]
        carries = [self._delayed(pair, ranks).differs for pair in extra]
        total, levels = self._tree(counts, carries, name)
        return total, ranks + levels

    def _seven(self, pairs: tuple[Pair, ...]) -> Value:
        """The count of up to seven, of constants a cycle later."""
        threes = [self._shared_three(part) for part in (pairs[:3], pairs[3:6]) if part]
        last = [self._delayed(pair, int(self.is_constant)) for pair in pairs[6:]]
        if last:
            return count_of_seven(self.m, threes, last[0])
        return summed(self.m, threes[0], threes[1], Const(0, 1)) if len(threes) == 2 else threes[0]

    def _tree(self, terms: Sequence[Value], carries: Sequence[Value], name: str) -> tuple[Value, int]:
        """The sum, and the levels of the tree; the first one also adds carries, no more than it has sums."""
        levels = (len(terms) - 1).bit_length()
        if self.target is not Target.ICE40:
            return tree(self.m, terms, levels, name), levels
        for level in range(levels):
            zero = Const(0, 1)
            padded = [*carries, *[zero] * len(terms)] if not level else [zero] * len(terms)
            sums = [summed(self.m, a, b, c) for a, b, c in zip(terms[::2], terms[1::2], padded, strict=False)]
            sums += terms[len(terms) // 2 * 2 :]
            terms = [registered(self.m, total, f"{name}_{level}_{n}") for n, total in enumerate(sums)]
        return terms[0], levels

    def _delayed(self, pair: Pair, cycles: int) -> Pair:
        """The pair as it was `cycles` cycles ago; where a register takes a cell, in one register a cycle."""
        if not cycles:
            return pair
        if (pair, cycles) not in self._late:
            name, before = f"late_{len(self._late)}", self._delayed(pair, cycles - 1)
            if isinstance(before.b, Const):
                self._late[pair, cycles] = Pair(registered(self.m, before.a, name), before.b)
            elif self.target is Target.ICE40:
                self._late[pair, cycles] = Pair(registered(self.m, before.differs, name))
            else:
                b = registered(self.m, before.b, f"{name}_b")
                self._late[pair, cycles] = Pair(registered(self.m, before.a, name), b)
        return self._late[pair, cycles]

    def _chained(self, top: _Node, name: str) -> tuple[Value, int]:
        """The count, and its ranks of registers."""
        by_rank: dict[int, list[_Node]] = {}
        open_nodes = [top]
        while open_nodes:
            node = open_nodes.pop()
            if node.pairs not in self._found:
                by_rank.setdefault(node.rank, []).append(node)
                open_nodes += node.parts
        chains = CarryChains(self.m, name, self.form.halves)
        for rank, nodes in sorted(by_rank.items()):
            sums = {node.pairs: self._added(chains, node) for node in nodes}
            for n, (pairs, total) in enumerate(sums.items()):
                self._found[pairs] = registered(self.m, total, f"{name}_{rank}_{n}")
        chains.close()
        return self._found[top.pairs], top.rank

    def _added(self, chains: CarryChains, node: _Node) -> Value:
        """The count of a node whose parts are found, to be registered."""
        if len(node.pairs) > 3:
            numbers = [[Pair(bit) for bit in self._found[part.pairs]] for part in node.parts]
            carry = self._delayed(node.pairs[-1], node.rank - 1)
            return Cat(*chains.added(numbers[0], numbers[1] if len(numbers) > 1 else [], carry))
        if len(node.pairs) == 1 or self.is_constant:
            return self._three(node.pairs)
        carry = node.pairs[2] if len(node.pairs) == 3 else ZERO
        return Cat(*chains.added([node.pairs[0]], [node.pairs[1]], carry))


def counted(m: Module, pairs: Sequence[Pair], target: Target, name: str, form: CountForm = CountForm.COMPACT) -> Value:
    """Return how many of `pairs` differ, `count_stages(len(pairs))` cycles later."""
    return Counter(m, target, form).counted(pairs, count_stages(len(pairs)), name)


@dataclass(frozen=True, eq=False)
class _Node:
    """A count of `pairs` in carry chains: of up to three of them, or of one or two smaller counts and one pair."""

    pairs: tuple[Pair, ...]

    @property
    def rank(self) -> int:
        """The ranks of registers that it takes."""
        return max(1, len(self.pairs).bit_length() - 1)

    @cached_property
    def parts(self) -> tuple[_Node, ...]:
        """What is added up, with the last pair, in the last rank of a node of more than three pairs."""
        if len(self.pairs) <= 3:
            return ()
        rest = self.pairs[:-1]
        is_power = len(self.pairs).bit_count() == 1
        half = len(rest) if is_power else (len(rest) + 1) // 2
        return tuple(_Node(part) for part in (rest[:half], rest[half:]) if part)
