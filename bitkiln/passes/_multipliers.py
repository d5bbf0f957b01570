"""What the products of each layer are made of: blocks, packed blocks or logic, whichever takes the fewest LUTs.

LUTs are estimates from a few syntheses for ECP5; iCE40 takes about as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitkiln.ir import Int, ToolError, fail
from bitkiln.ir.units import DspBlock, Multiplier, Packing, separate_packing, shared_packings

from ._layers import Folding, Layer
from ._options import PlanOptions
from ._products import ProductLayer


@dataclass(frozen=True)
class Making:
    """One way to make the products of a folded layer, with the blocks and about the LUTs that it takes."""

    multiplier: Multiplier
    packing: Packing | None
    blocks: int
    luts: int


def with_multipliers(layers: Sequence[Layer], foldings: Sequence[Folding], options: PlanOptions) -> list[Layer]:
    """Return the layers, each wholly of one kind: the fewest LUTs within `options.dsp` blocks, then the fewest blocks.

    What the user wished stays, whatever there is for it. Raises ToolError `bad-folding` for a wish to pack what does
    not fit a block.
    """
    makings = {
        i: _makings(layer, foldings[i], options.dsp_block)
        for i, layer in enumerate(layers)
        if isinstance(layer, ProductLayer) and layer.is_multiplied
    }
    chosen = dict(zip(makings, _least(list(makings.values()), options.dsp), strict=True))
    result = [_without_packing(layer) for layer in layers]
    for i, making in chosen.items():
        layer = result[i]
        assert isinstance(layer, ProductLayer)
        result[i] = replace(layer, multiplier=making.multiplier, packing=making.packing)
    return result


def _without_packing(layer: Layer) -> Layer:
    """Where nothing is multiplied there is nothing to pack, either."""
    if isinstance(layer, ProductLayer) and layer.multiplier is Multiplier.PACKED:
        return replace(layer, multiplier=None)
    return layer


def _makings(layer: ProductLayer, folding: Folding, block: DspBlock | None) -> list[Making]:
    """The ways that the user's wish leaves."""
    products, bits = layer.multipliers(folding), (layer.weight_bits, layer.operand.bits)
    found = [Making(Multiplier.DSP, None, products, 0)]
    if not layer.is_sparse:
        found += [_packed(layer, folding, packing) for packing in packings(layer, block)]
    luts = 0 if layer.is_unrolled(folding) else products * product_luts(*bits)  # constants are better off in logic
    found.append(Making(Multiplier.LUT, None, 0, luts))
    if layer.multiplier is None:
        return found
    wished = [making for making in found if making.multiplier is layer.multiplier]
    if not wished:
        raise cannot_pack(layer, block)
    return wished


def cannot_pack(layer: ProductLayer, block: DspBlock | None) -> ToolError:
    """Say why the products of a layer cannot be packed, as the user wishes."""
    where = f"{block.value} bits" if block else "a board that is not known"
    why = f"no two products of {layer.weight_bits} by {layer.operand.bits} bits fit a multiplier block of {where}"
    if layer.is_sparse or layer.is_depthwise:
        why = f"the products of a {'sparse' if layer.is_sparse else 'depthwise'} layer have different inputs"
    message = f"{layer.place.name} cannot be packed: {why}"
    return fail("bad-folding", message, layer.place.loc, 'multiplier = "dsp" or "lut", or fewer bits')


def packings(layer: ProductLayer, block: DspBlock | None) -> tuple[Packing, ...]:
    match block:
        case DspBlock.MULT18 if layer.is_depthwise:
            return ()
        case DspBlock.MULT18:
            codes = int(layer.weights.min()), int(layer.weights.max())
            if layer.renewable:
                codes = Int(layer.weight_bits).lo, Int(layer.weight_bits).hi
            return shared_packings(codes, layer.operand.beat(1).code_range)
        case DspBlock.MAC16:
            pair = separate_packing(layer.weight_bits, layer.operand.bits)
            return (pair,) if pair else ()
        case None:
            return ()


def _packed(layer: ProductLayer, folding: Folding, packing: Packing) -> Making:
    if not packing.is_shared:
        return Making(Multiplier.PACKED, packing, -(-layer.multipliers(folding) // packing.products), 0)
    blocks = -(-folding.pe // packing.products) * folding.simd
    return Making(Multiplier.PACKED, packing, blocks, blocks * block_luts(packing, layer.weight_bits))


def product_luts(weight_bits: int, input_bits: int) -> int:
    """LUTs of a multiplier of LUTs."""
    return 5 * weight_bits * input_bits // 2


def block_luts(packing: Packing, weight_bits: int) -> int:
    """LUTs beside a block that is shared: adders of the operand, of the carries, and the lowest bits of products."""
    joints = packing.products - 1
    return joints * (20 + 3 * weight_bits + packing.overlap * (packing.overlap + 3))


def _least(makings: Sequence[Sequence[Making]], budget: int | None) -> list[Making]:
    """One of each within the budget, or within the fewest blocks that there must be."""
    least = sum(min(making.blocks for making in ways) for ways in makings)
    limit = None if budget is None else max(budget, least)
    best: dict[int, tuple[int, tuple[Making, ...]]] = {0: (0, ())}
    for ways in makings:
        following: dict[int, tuple[int, tuple[Making, ...]]] = {}
        for blocks, (luts, chosen) in best.items():
            for making in ways:
                total, cost = blocks + making.blocks, luts + making.luts
                if (limit is None or total <= limit) and (total not in following or cost < following[total][0]):
                    following[total] = (cost, (*chosen, making))
        best = _undominated(following)
    return list(min(best.items(), key=lambda item: (item[1][0], item[0]))[1][1])


def _undominated(found: dict[int, tuple[int, tuple[Making, ...]]]) -> dict[int, tuple[int, tuple[Making, ...]]]:
    """Without those for which another takes fewer blocks and no more LUTs."""
    kept: dict[int, tuple[int, tuple[Making, ...]]] = {}
    fewest: int | None = None
    for blocks in sorted(found):
        if fewest is None or found[blocks][0] < fewest:
            kept[blocks], fewest = found[blocks], found[blocks][0]
    return kept
