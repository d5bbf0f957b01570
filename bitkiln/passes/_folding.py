"""Which folding each layer gets: by hand, or the least interval that a budget of multipliers allows."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bitkiln.ir import ToolError, fail, known_names

from ._layers import Folding, Layer
from ._lowering import Lowered
from ._multipliers import with_multipliers
from ._options import DEFAULT_MULTIPLIERS, LayerFolding, PlanOptions
from ._products import ProductLayer

RESIZE_COST = 2
"""A width converter counts as much as this many multipliers: it costs registers and a stage, but rarely decides."""


@dataclass(frozen=True)
class _Option:
    """A legal folding of a layer, and what it costs."""

    folding: Folding
    interval: int
    multipliers: int


@dataclass(frozen=True, eq=False)
class _Choices:
    """A layer with the foldings that may be chosen from."""

    layer: Layer
    options: tuple[_Option, ...]

    @classmethod
    def of(cls, layer: Layer, foldings: Sequence[Folding]) -> _Choices:
        options = (_Option(folding, layer.interval(folding), layer.multipliers(folding)) for folding in foldings)
        return cls(layer, tuple(options))

    def within(self, interval: int) -> list[_Option]:
        return [option for option in self.options if option.interval <= interval]


def fold(lowered: Lowered, options: PlanOptions) -> list[tuple[Layer, Folding]]:
    """Return the layers with a folding each, and with what their multipliers are made of.

    The interval is that of the slowest unit, which queues of the right depths make that of the whole. With a budget the
    result has the least such interval, and among those (nearly) the fewest multipliers and width converters.
    Raises ToolError `bad-folding`.
    """
    choices = _by_hand(lowered.layers, options.layers)
    budget = _budget(choices, options)
    interval = _interval(lowered, choices, budget, options)
    best = _cheapest(lowered, choices, interval, RESIZE_COST)
    if best is None or best.multipliers > budget:
        best = _cheapest(lowered, choices, interval, 0)
    assert best is not None and best.multipliers <= budget
    layers = [choice.layer for choice in choices]
    return list(zip(with_multipliers(layers, best.foldings, options), best.foldings, strict=True))


def choices_by_hand(layers: Sequence[Layer], wishes: Sequence[LayerFolding]) -> list[tuple[Layer, tuple[Folding, ...]]]:
    """Return each layer as the user wishes it, with the foldings that this leaves. Raises ToolError `bad-folding`."""
    return [(choice.layer, tuple(o.folding for o in choice.options)) for choice in _by_hand(layers, wishes)]


def _by_hand(layers: Sequence[Layer], wishes: Sequence[LayerFolding]) -> list[_Choices]:
    names = [layer.place.name for layer in layers]
    for wish in wishes:
        matched = [layer for layer in layers if fnmatch.fnmatchcase(layer.place.name, wish.layer)]
        if not matched:
            raise fail("bad-folding", f"no layer is called {wish.layer!r}", hint=known_names(wish.layer, names))
        wants_weights = any(it is not None for it in (wish.storage, wish.multiplier, wish.sparse, wish.skip_zeros))
        if wants_weights and not any(isinstance(layer, ProductLayer) for layer in matched):
            raise fail("bad-folding", f"{matched[0].place.name} has no weights to store or multiply")
    return [_wished(layer, wishes) for layer in layers]


def _wished(layer: Layer, wishes: Sequence[LayerFolding]) -> _Choices:
    pe: int | None = None
    simd: int | None = None
    for wish in wishes:
        if not fnmatch.fnmatchcase(layer.place.name, wish.layer):
            continue
        pe = wish.pe if wish.pe is not None else pe
        simd = wish.simd if wish.simd is not None else simd
        if isinstance(layer, ProductLayer):
            if (wish.sparse or wish.skip_zeros) and not layer.can_be_sparse:
                raise fail(
                    "bad-folding",
                    f"{layer.place.name} cannot skip zeros: it has groups, or products without multipliers",
                    layer.place.loc,
                )
            layer = replace(
                layer,
                storage=wish.storage or layer.storage,
                multiplier=wish.multiplier or layer.multiplier,
                sparse=layer.sparse if wish.sparse is None else wish.sparse,
                skip_zeros=layer.skip_zeros if wish.skip_zeros is None else wish.skip_zeros,
            )
    _check_storage(layer)
    foldings = layer.foldings()
    for name, value, legal in (
        ("pe", pe, sorted({folding.pe for folding in foldings})),
        ("simd", simd, sorted({folding.simd for folding in foldings})),
    ):
        if value is not None and value not in legal:
            raise _illegal(layer, f"{name} = {value}", ", ".join(map(str, legal)))
    kept = tuple(folding for folding in foldings if pe in (None, folding.pe) and simd in (None, folding.simd))
    if not kept:
        raise _illegal(layer, f"pe = {pe} with simd = {simd}", "pe equal to simd")
    return _Choices.of(layer, kept)


def _check_storage(layer: Layer) -> None:
    """Of different wishes for one layer; what one of them asks for is checked where it is made."""
    if isinstance(layer, ProductLayer) and layer.storage and layer.storage.is_loaded and layer.is_sparse:
        what = f"{layer.place.name}: entries of weights that are not 0 cannot be stored as {layer.storage.value!r}"
        raise fail("bad-folding", what, layer.place.loc, "sparse = false, or storage = 'block'")


def _illegal(layer: Layer, what: str, legal: str) -> ToolError:
    return fail(
        "bad-folding", f"{layer.place.name} cannot be folded with {what}", layer.place.loc, f"legal values: {legal}"
    )


def _budget(choices: Sequence[_Choices], options: PlanOptions) -> int | float:
    least = sum(min(option.multipliers for option in choice.options) for choice in choices)
    if options.max_multipliers is None:
        return math.inf if options.interval_goal is not None else max(DEFAULT_MULTIPLIERS, least)
    if options.max_multipliers < least:
        raise fail(
            "bad-folding",
            f"max_multipliers is {options.max_multipliers}, but the layers need at least {least} multipliers",
            hint=f"allow {least} or more, or choose a board with more",
        )
    return options.max_multipliers


def _interval(lowered: Lowered, choices: Sequence[_Choices], budget: int | float, options: PlanOptions) -> int:
    """The interval to fold for: the user's goal, or the least that the budget allows."""
    target = options.interval_goal

    def may_do(interval: int) -> bool:
        least = [min((o.multipliers for o in choice.within(interval)), default=math.inf) for choice in choices]
        return max(least) < math.inf and sum(least) <= budget

    def does(interval: int) -> bool:
        found = _cheapest(lowered, choices, interval, 0)
        return found is not None and found.multipliers <= budget

    if target is not None and does(target):
        return target
    slowest = max(max(option.interval for option in choice.options) for choice in choices)
    widest = max(len(lowered.input_order), *(choice.layer.place.elements for choice in choices))
    least = _first(may_do, 1, max(slowest, widest))
    if not does(least):  # where only slow width converters fit between the layers
        least = _first(does, least + 1, max(slowest, widest))
    if target is not None:
        raise _out_of_reach(choices, least, budget, options)
    return least


def _out_of_reach(choices: Sequence[_Choices], least: int, budget: int | float, options: PlanOptions) -> ToolError:
    """Say how near the goal one gets, and what is in the way."""
    allowed = "any number of" if budget == math.inf else f"at most {budget}"
    goal, reached = options.wanted.removeprefix("a "), f"the least interval is {least} cycles"
    if options.frames_per_second is not None:
        reached = f"at most {options.clock_mhz * 1e6 / least:.6g} frames a second, an image every {least} cycles"
    slowest = max(choices, key=lambda choice: min(option.interval for option in choice.options))
    own = min(option.interval for option in slowest.options)
    if own == least:
        reached += f", all of which {slowest.layer.place.name} takes at any folding"
    message = f"the {goal} is out of reach with {allowed} multipliers"
    return fail("bad-folding", message, hint=reached)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least number from `low` to `high` for which `holds`, as it does for all above it; for `high` it must."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@dataclass(frozen=True)
class _Partial:
    """Foldings of the first layers, with their cost: (multipliers + width converters, lanes), the less the better."""

    cost: tuple[int, int]
    multipliers: int
    foldings: tuple[Folding, ...]

    def with_option(self, option: _Option, extra_cost: int) -> _Partial:
        folding = option.folding
        cost = (self.cost[0] + option.multipliers + extra_cost, self.cost[1] + folding.pe + folding.simd)
        return _Partial(cost, self.multipliers + option.multipliers, (*self.foldings, folding))


_Lanes = tuple[tuple[str, int], ...]
"""Values that later layers read, each with the lanes in which it comes."""


def _cheapest(lowered: Lowered, choices: Sequence[_Choices], interval: int, resize_cost: int) -> _Partial | None:
    """The cheapest foldings whose units all take at most `interval` cycles an image, or None.

    Dynamic programming over the layers in order; what is still to come depends only on the lanes of the values that
    later layers read, so the best of each combination of those is kept.
    """
    last_use = {source: i for i, choice in enumerate(choices) for source in choice.layer.place.sources}
    elements = {choice.layer.place.node: choice.layer.place.elements for choice in choices}
    elements[lowered.input] = len(lowered.input_order)
    best: dict[_Lanes, _Partial] = {(): _Partial((0, 0), 0, ())}
    for i, choice in enumerate(choices):
        place, options = choice.layer.place, choice.within(interval)
        following: dict[_Lanes, _Partial] = {}
        for state, partial in best.items():
            lanes = dict(state)
            for option in options:
                folding = option.folding
                resizes = _resizes(choice.layer, folding, lanes, elements, interval)
                if resizes is None:
                    continue
                after = {**dict.fromkeys(place.sources, folding.simd), **lanes, place.node: folding.pe}
                key = tuple((name, width) for name, width in after.items() if last_use.get(name, -1) > i)
                longer = partial.with_option(option, resizes * resize_cost)
                if key not in following or longer.cost < following[key].cost:
                    following[key] = longer
        best = following
    return min(best.values(), key=lambda partial: partial.cost, default=None)


def _resizes(
    layer: Layer, folding: Folding, lanes: Mapping[str, int], elements: Mapping[str, int], interval: int
) -> int | None:
    """Width converters before a layer, or None if one of them would be slower than `interval`."""
    count = 0
    for source in layer.place.sources:
        there = lanes.get(source, folding.simd)  # the input comes as its first user wants it
        common = math.gcd(there, folding.simd)
        if there == folding.simd:
            continue
        if elements[source] // common > interval:
            return None
        count += 1 if common in (there, folding.simd) else 2
    return count
