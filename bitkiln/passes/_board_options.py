"""What each folding of a layer takes on a board: the options that the search for a board chooses from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from bitkiln.boards import Board, Resource, Resources
from bitkiln.boards.cost import Bill, Facts, WeightSource, link_bill, priced, queue, unit_bill
from bitkiln.ir import Stream
from bitkiln.ir.units import Beat, Fork, MatrixVector, Multiplier, Packing, Pool, Resize, Storage, Unit, WeightCode

from ._assembly import INPUT_STREAM, OUTPUT_STREAM
from ._layers import Folding, Layer
from ._lowering import Lowered
from ._multipliers import cannot_pack, packings
from ._products import ProductLayer

KINDS = tuple(Resource)
MOST_LUT_WEIGHT_BITS = 16384
"""Larger tables in logic take synthesis minutes, and more LUTs than anything else."""

Vector = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """A layer with what it is made of (multipliers, memory, sparse or dense) at one folding; `cost` goes by `KINDS`."""

    layer: Layer
    folding: Folding
    interval: int
    cost: Vector


def vector(used: Resources) -> Vector:
    """The amounts by `KINDS`."""
    return tuple(float(count) for _, count in used)


@dataclass(eq=False)
class LayerOptions:
    """A layer's foldings on a board, found when they are asked for."""

    layer: Layer
    foldings: tuple[Folding, ...]
    lowered: Lowered
    board: Board
    _known: dict[Folding, tuple[Variant, ...]] = field(default_factory=dict)
    _intervals: dict[tuple[bool, Folding], int] = field(default_factory=dict)
    _facts: dict[WeightCode, Facts] = field(default_factory=dict)

    @cached_property
    def forms(self) -> tuple[Layer, ...]:
        """The layer as each thing that it may be: what the user has not said is open."""
        if not isinstance(self.layer, ProductLayer):
            return (self.layer,)
        layer = self.layer
        kinds: list[bool | None] = [layer.is_sparse]
        if layer.sparse is None and layer.is_sparse and not layer.skip_zeros:
            kinds = [True, False]
        storages: list[Storage | None] = [layer.storage]
        is_small = layer.weights.size * layer.weight_bits <= MOST_LUT_WEIGHT_BITS
        if layer.storage is None and not layer.renewable and is_small:
            storages = [Storage.BLOCK, Storage.LUT]
        return tuple(
            replace(layer, sparse=sparse, multiplier=multiplier, packing=packing, storage=storage)
            for sparse in kinds
            for multiplier, packing in self._multipliers(layer)
            for storage in storages
            if packing is None or not sparse
        )

    def _multipliers(self, layer: ProductLayer) -> list[tuple[Multiplier | None, Packing | None]]:
        """What its products may be made of, as far as the user has not said it and the board has it."""
        if not layer.is_multiplied:
            return [(None if layer.multiplier is Multiplier.PACKED else layer.multiplier, None)]
        packed = [(Multiplier.PACKED, packing) for packing in packings(layer, self.board.dsp_block)]
        blocks = [(Multiplier.DSP, None), *packed] if self.board.resources.dsp else []
        found: list[tuple[Multiplier | None, Packing | None]] = [*blocks, (Multiplier.LUT, None)]
        if layer.multiplier is None:
            return found
        if layer.multiplier is Multiplier.PACKED and (not packed or layer.is_sparse):
            raise cannot_pack(layer, self.board.dsp_block)
        return [ways for ways in found if ways[0] is layer.multiplier] or [(layer.multiplier, None)]

    @cached_property
    def _users(self) -> int:
        sources = [source for layer in self.lowered.layers for source in layer.place.sources]
        return sources.count(self.layer.place.node) + (self.layer.place.node == self.lowered.output)

    def interval(self, folding: Folding, form: Layer) -> int:
        """Cycles between images of the layer in this form."""
        key = (isinstance(form, ProductLayer) and form.is_sparse, folding)
        if key not in self._intervals:
            self._intervals[key] = form.interval(folding)
        return self._intervals[key]

    def intervals(self) -> Iterator[int]:
        """Those of all foldings."""
        for form in self._kinds():
            for folding in form_foldings(form, self.foldings):
                yield self.interval(folding, form)

    def _kinds(self) -> tuple[Layer, ...]:
        """One form for the sparse unit and one for the dense."""
        by_kind = {isinstance(form, ProductLayer) and form.is_sparse: form for form in self.forms}
        return tuple(by_kind.values())

    def within(self, interval: int, is_any_width: bool = False) -> list[Variant]:
        """The variants of the foldings that reach `interval` and, but with `is_any_width`, could not be narrower."""
        found: list[Variant] = []
        for form in self._kinds():
            reach = [f for f in form_foldings(form, self.foldings) if self.interval(f, form) <= interval]
            is_lanes = not isinstance(form, ProductLayer)
            for folding in reach:
                if is_any_width or is_lanes or not any(_is_narrower(other, folding) for other in reach):
                    found += [v for v in self._variants(folding) if self._is_kind(v.layer, form)]
        return found

    @staticmethod
    def _is_kind(layer: Layer, form: Layer) -> bool:
        if not isinstance(layer, ProductLayer) or not isinstance(form, ProductLayer):
            return True
        return layer.is_sparse == form.is_sparse

    def _variants(self, folding: Folding) -> tuple[Variant, ...]:
        """Those forms that no other one is at least as good as in everything."""
        if folding not in self._known:
            found = [
                Variant(form, folding, self.interval(folding, form), self._cost(form, folding))
                for form in self.forms
                if folding in form_foldings(form, self.foldings)
            ]
            self._known[folding] = tuple(_undominated(found))
        return self._known[folding]

    def _cost(self, form: Layer, folding: Folding) -> Vector:
        bill, place = Bill(self.board), form.place
        for _, unit in form.units(folding):
            facts = self._facts_of(unit) if isinstance(unit, MatrixVector) else None
            bill.merge(unit_bill(unit, _outputs(unit), self.board, facts))
        given = place.output.beat(folding.pe)
        if self._users > 1:
            fork = Fork(1, given, self._users)
            bill.merge(unit_bill(fork, _outputs(fork), self.board))
        return vector(priced(bill))

    def _facts_of(self, unit: MatrixVector) -> Facts:
        """What is true of the weights as they are stored, whatever the folding."""
        if unit.weight_code not in self._facts:
            self._facts[unit.weight_code] = Facts.of(unit)
        return self._facts[unit.weight_code]


def form_foldings(form: Layer, foldings: Sequence[Folding]) -> tuple[Folding, ...]:
    """Those of `foldings` that the form allows: the sparse unit has fewer elements."""
    if isinstance(form, ProductLayer) and form.is_sparse:
        legal = set(form.foldings())
        return tuple(folding for folding in foldings if folding in legal)
    return tuple(foldings)


def _is_narrower(other: Folding, folding: Folding) -> bool:
    return other != folding and other.pe <= folding.pe and other.simd <= folding.simd


def _undominated(variants: Sequence[Variant]) -> Iterator[Variant]:
    for number, variant in enumerate(variants):
        better = (
            other
            for i, other in enumerate(variants)
            if i != number
            and all(a <= b for a, b in zip(other.cost, variant.cost, strict=True))
            and other.interval <= variant.interval
            and (other.cost != variant.cost or i < number)
        )
        if next(better, None) is None:
            yield variant


def _outputs(unit: Unit) -> tuple[Stream, ...]:
    """The queues at the outputs, about as deep as `default_depth` makes them."""
    distance = _push_distance(unit)
    latency = getattr(unit, "latency", getattr(unit, "LATENCY", 0))
    depth = max(2, -(-(latency + 2) // distance))
    depth = depth if depth <= 4 else -(-(latency + 3) // distance)
    return tuple(Stream("", beat, 1, depth) for beat in unit.outputs)


def _push_distance(unit: Unit) -> int:
    match unit:
        case MatrixVector():
            return unit.column_folds
        case Pool():
            return unit.window
        case _:
            return 1


@cache
def resize_cost(board: Board, beat: Beat, there: int, wanted: int) -> Vector:
    """What width converters from `there` lanes to `wanted` take; `beat` has one lane."""
    bill, common = Bill(board), math.gcd(there, wanted)
    for lanes_in, lanes_out in ((there, common), (common, wanted)):
        if lanes_in != lanes_out:
            unit = Resize(there * wanted, lanes_in, lanes_out, beat.bits, beat.signed, beat.bipolar)
            bill.merge(unit_bill(unit, _outputs(unit), board))
    return vector(priced(bill))


def weight_source(layers: Sequence[Layer]) -> WeightSource:
    """Where the weights come from: what only the user's wish makes the host's business."""
    products = [layer for layer in layers if isinstance(layer, ProductLayer)]
    is_loaded = [layer.storage is not None and layer.storage.is_loaded for layer in products]
    is_renewable = any(layer.renewable and not loaded for layer, loaded in zip(products, is_loaded, strict=True))
    return WeightSource(any(is_loaded), is_renewable)


def border_cost(lowered: Lowered, board: Board, lanes: tuple[int, int], weights: WeightSource) -> Vector:
    """What the link of the host takes with these lanes in and out, and the queue of the input."""
    lanes_in, lanes_out = lanes
    formats = {layer.place.node: layer.place.output for layer in lowered.layers}
    given = formats[lowered.output]
    source = Stream(INPUT_STREAM, lowered.input_format.beat(lanes_in), len(lowered.input_order) // lanes_in, 2)
    sink = Stream(OUTPUT_STREAM, given.beat(lanes_out), len(lowered.output_order) // lanes_out, 2)
    bill = link_bill(board, source, sink, weights)
    queue(bill, source)
    return vector(priced(bill))
