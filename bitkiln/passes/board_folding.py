"""The folding for a board: the fastest that fits, the smallest that is fast enough, or that of the least latency.

Which folding, multipliers and memory each layer gets follows from what all of them take together, by the resource model
of `bitkiln.boards.cost`; LUTs and flip-flops keep a margin as large as the model's error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bitkiln.boards import BOARDS, Board, Resource, Resources
from bitkiln.boards.cost import WeightSource, coefficients
from bitkiln.ir import ToolError, fail
from bitkiln.ir.units import Multiplier, Storage

from ._board_options import KINDS, LayerOptions, Variant, Vector, border_cost, resize_cost, vector, weight_source
from ._layers import Folding, Format, Layer
from ._lowering import Lowered
from ._options import Goal
from ._products import ProductLayer
from ._trellis import Choice, Option, Outcome, Solution, Trellis

WEIGHTS = dict.fromkeys(Resource, 0.25) | {Resource.LUT: 1.0}
"""How much a share of each kind counts where a folding is to be small: LUTs are what wires and the clock depend on, and
blocks that are left over are of no use.
"""


@dataclass(frozen=True)
class LayerChoice:
    """What one layer got; `multiplier` and `storage` are None where it has neither."""

    name: str
    unit: str
    pe: int
    simd: int
    multiplier: Multiplier | None
    storage: Storage | None
    interval: int
    used: Resources


@dataclass(frozen=True)
class NextStep:
    """What the next lower interval would take, and of which kinds there is too little."""

    interval: int
    needed: Resources
    binding: tuple[Resource, ...]


@dataclass(frozen=True)
class BoardFolding:
    """A folding and why it is this one.

    `used` is what the model predicts, host link included; `limits` are the board's resources less the `margin` and what
    deep queues take. `bottleneck` are the layers that take the interval. `is_proven` is false if the search was cut
    off.
    """

    board: str
    goal: Goal
    interval: int
    used: Resources
    limits: Resources
    margin: float
    layers: tuple[LayerChoice, ...]
    bottleneck: tuple[str, ...]
    next_step: NextStep | None
    is_proven: bool


def limits_on(board: Board, reserve: Resources, dsp: int | None) -> Resources:
    """Return what a design may take: of LUTs and flip-flops less by the error that 9 of 10 predictions stay below."""
    margin = 1 + margin_on(board)
    available = board.resources
    return Resources(
        lut=max(0, math.floor(available.lut / margin) - reserve.lut),
        ff=max(0, math.floor(available.ff / margin) - reserve.ff),
        bram=max(0, available.bram - reserve.bram),
        dsp=available.dsp if dsp is None else min(dsp, available.dsp),
        spram=available.spram,
    )


def margin_on(board: Board) -> float:
    """The share by which predictions of LUTs on this board's family are off at most, nine times of ten."""
    return coefficients(board.family).lut_error_ninth


@dataclass(eq=False)
class BoardSearch:
    """The layers with their legal foldings, and the board with what may be taken of it."""

    lowered: Lowered
    layers: Sequence[tuple[Layer, tuple[Folding, ...]]]
    board: Board
    limits: Resources

    @cached_property
    def _options(self) -> list[LayerOptions]:
        return [LayerOptions(layer, foldings, self.lowered, self.board) for layer, foldings in self.layers]

    @cached_property
    def intervals(self) -> list[int]:
        """All that a layer can have and the slowest layer can reach, rising."""
        found = [sorted(set(options.intervals())) for options in self._options]
        least = max(intervals[0] for intervals in found)
        return sorted({interval for intervals in found for interval in intervals if interval >= least})

    def fastest(self) -> tuple[int, Outcome]:
        """Return the least interval that fits, with its smallest folding. Raises `does-not-fit`."""
        low, high, are_proven = 0, len(self.intervals) - 1, True
        if self._solve(self.intervals[high], is_any_enough=True).best is None:
            raise self._does_not_fit()
        while low < high:
            middle = (low + high) // 2
            found = self._solve(self.intervals[middle], is_any_enough=True)
            are_proven = are_proven and found.is_proven
            low, high = (low, middle) if found.best is not None else (middle + 1, high)
        outcome = self._solve(self.intervals[low])
        return self.intervals[low], replace(outcome, is_proven=outcome.is_proven and are_proven)

    def smallest(self, interval: int) -> Outcome:
        """Return the smallest folding that reaches `interval`; it may be that none is found."""
        if interval < self.intervals[0]:
            return self._solve(self.intervals[0])
        return self._solve(interval)

    def least_latency(self) -> Outcome:
        """Return the folding whose layers' intervals have the least sum. Raises `does-not-fit`."""
        found = self._solve(self.intervals[-1], is_latency=True)
        if found.best is None:
            raise self._does_not_fit()
        return found

    def _solve(self, interval: int, *, is_any_enough: bool = False, is_latency: bool = False) -> Outcome:
        variants = [options.within(interval, is_any_width=is_latency) for options in self._options]
        self._variants = variants
        choices = [
            Choice(options.layer.place.sources, options.layer.place.node, self._as_options(position, found, is_latency))
            for position, (options, found) in enumerate(zip(self._options, variants, strict=True))
        ]
        trellis = Trellis(choices, lambda source, there, wanted: self._join(source, there, wanted, interval))
        if trellis.is_empty:
            nothing = Solution((), tuple(math.inf for _ in KINDS), math.inf)
            return Outcome(None, nothing, is_proven=True)
        most = math.inf if is_latency else sum(WEIGHTS.values())
        return trellis.solve(vector(self.limits), most, is_any_enough)

    def _as_options(self, position: int, variants: Sequence[Variant], is_latency: bool) -> tuple[Option, ...]:
        found = []
        for variant in variants:
            cost = tuple(map(sum, zip(variant.cost, self._border(position, variant.folding), strict=True)))
            value = float(variant.interval) if is_latency else self._share(cost)
            found.append(Option(variant.folding.simd, variant.folding.pe, cost, value))
        return tuple(found)

    def _share(self, cost: Vector) -> float:
        """How large a part of the board it is, by `WEIGHTS`."""
        shares = (need / max(limit, 1.0) for need, limit in zip(cost, vector(self.limits), strict=True))
        return sum(WEIGHTS[kind] * share for kind, share in zip(KINDS, shares, strict=True))

    def _border(self, position: int, folding: Folding) -> Vector:
        """What the link takes because of this layer: the first to read the input, the one that gives the output."""
        place = self._options[position].layer.place
        result = tuple(0.0 for _ in KINDS)
        if position == self._first_reader:
            result = self._border_cost(folding.simd, 1)
        if place.node == self.lowered.output:
            alone, more = self._border_cost(1, 1), self._border_cost(1, folding.pe)
            result = tuple(a + b - c for a, b, c in zip(result, more, alone, strict=True))
        return result

    def _border_cost(self, lanes_in: int, lanes_out: int) -> Vector:
        return border_cost(self.lowered, self.board, (lanes_in, lanes_out), self._weights)

    @cached_property
    def _weights(self) -> WeightSource:
        return weight_source([layer for layer, _ in self.layers])

    @cached_property
    def _first_reader(self) -> int:
        places = [options.layer.place for options in self._options]
        return next(i for i, place in enumerate(places) if self.lowered.input in place.sources)

    @cached_property
    def _values(self) -> dict[str, tuple[int, Format]]:
        """Elements and format of each value."""
        values = {layer.place.node: (layer.place.elements, layer.place.output) for layer, _ in self.layers}
        return values | {self.lowered.input: (len(self.lowered.input_order), self.lowered.input_format)}

    def _join(self, source: str, there: int, wanted: int, interval: int) -> Vector | None:
        if there == wanted:
            return tuple(0.0 for _ in KINDS)
        elements, element = self._values[source]
        if elements // math.gcd(there, wanted) > interval:
            return None
        return resize_cost(self.board, element.beat(1), there, wanted)

    def picked(self, outcome: Outcome) -> list[Variant]:
        """The variants of a solution; of the interval that was solved last."""
        assert outcome.best is not None
        return [found[number] for found, number in zip(self._variants, outcome.best.options, strict=True)]

    def next_step(self, interval: int) -> NextStep | None:
        """What the next lower interval would take."""
        lower = [candidate for candidate in self.intervals if candidate < interval]
        if not lower:
            return None
        nearest = self._solve(lower[-1]).nearest
        if not nearest.options:
            return None
        return NextStep(lower[-1], as_resources(nearest.cost), self._short(nearest.cost))

    def _short(self, cost: Vector) -> tuple[Resource, ...]:
        needed = [(kind, need, limit) for kind, need, limit in zip(KINDS, cost, vector(self.limits), strict=True)]
        return tuple(kind for kind, need, limit in needed if need > limit)

    def out_of_reach(self, goal: str) -> ToolError:
        """Say how near the best comes to a goal, and what is in the way."""
        reached, outcome = self.fastest()
        message = f"{goal} is out of reach on {self.board.title}: the fastest folding that fits takes {reached} cycles"
        picked = self.picked(outcome)
        step = self.next_step(reached)
        hint = "no layer can be folded any faster"
        if step and step.binding:
            hint = f"{step.interval} cycles would need {self._amounts(step.needed, step.binding)}"
        elif step is None:
            slowest = [variant for variant in picked if variant.interval == reached]
            hint = f"{slowest[0].layer.place.name} takes {reached} cycles at any folding" if slowest else hint
        return fail("goal-out-of-reach", message, hint=hint)

    def _does_not_fit(self) -> ToolError:
        """Say what the smallest folding needs, and which boards have it."""
        nearest = self._solve(self.intervals[-1]).nearest
        if not nearest.options:
            return fail("bad-folding", "no width converters join the layers at any folding")
        needed, short = as_resources(nearest.cost), self._short(nearest.cost)
        message = f"no folding fits on {self.board.title}: the smallest needs {self._amounts(needed, short)}"
        larger = [
            other.name
            for other in BOARDS
            if other.family is self.board.family and needed.fits(limits_on(other, Resources(), None))
        ]
        hint = f"choose a larger board: {', '.join(larger)}" if larger else "give the weights fewer bits, or prune more"
        return fail("does-not-fit", message, hint=hint)

    def _amounts(self, needed: Resources, kinds: Sequence[Resource]) -> str:
        parts = (f"{needed[kind]} {kind.value.upper()} of {self.limits[kind]} that may be used" for kind in kinds)
        return " and ".join(parts)


def as_resources(cost: Vector) -> Resources:
    """The amounts by `KINDS` as resources."""
    return Resources(**{kind.value: round(count) for kind, count in zip(KINDS, cost, strict=True)})


def explained(search: BoardSearch, goal: Goal, outcome: Outcome) -> BoardFolding:
    """Return what was chosen and what one step more would cost."""
    assert outcome.best is not None
    picked = search.picked(outcome)
    interval = max(variant.interval for variant in picked)
    layers = tuple(_layer_choice(variant) for variant in picked)
    return BoardFolding(
        board=search.board.name,
        goal=goal,
        interval=interval,
        used=as_resources(outcome.best.cost),
        limits=search.limits,
        margin=margin_on(search.board),
        layers=layers,
        bottleneck=tuple(layer.name for layer in layers if layer.interval == interval),
        next_step=search.next_step(interval),
        is_proven=outcome.is_proven,
    )


def _layer_choice(variant: Variant) -> LayerChoice:
    layer, folding = variant.layer, variant.folding
    (_, unit) = layer.units(folding)[-1]
    product = layer if isinstance(layer, ProductLayer) else None
    return LayerChoice(
        name=layer.place.name,
        unit=unit.kind,
        pe=folding.pe,
        simd=folding.simd,
        multiplier=product.multiplier if product and product.is_multiplied else None,
        storage=product.stored_in(folding) if product else None,
        interval=variant.interval,
        used=as_resources(variant.cost),
    )


def fold_on_board(
    lowered: Lowered,
    layers: Sequence[tuple[Layer, tuple[Folding, ...]]],
    board: Board,
    goal: Goal,
    wanted: tuple[int | None, str],
    limits: Resources,
) -> tuple[list[tuple[Layer, Folding]], BoardFolding]:
    """Return the layers with their folding and what they are made of, and why.

    `wanted` is the interval to reach, if any, and how to call it. Raises `does-not-fit` and `goal-out-of-reach`.
    """
    search = BoardSearch(lowered, layers, board, limits)
    interval, what = wanted
    match goal:
        case Goal.FASTEST:
            _, outcome = search.fastest()
        case Goal.LATENCY:
            outcome = search.least_latency()
        case Goal.SMALLEST:
            assert interval is not None, "the options say what to reach"
            outcome = search.smallest(interval)
    if outcome.best is None:
        raise search.out_of_reach(what)
    picked = search.picked(outcome)
    if interval is not None and max(variant.interval for variant in picked) > interval:
        raise search.out_of_reach(what)
    result = explained(search, goal, outcome)
    return [(variant.layer, variant.folding) for variant in picked], result
