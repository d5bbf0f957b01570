"""What products are made of: blocks, packed blocks, logic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.boards import BOARDS, HX8K_BREAKOUT, ICEBREAKER, ULX3S_85F
from bitkiln.ir import Builder, Graph, Int, Plan, TensorType, ToolError
from bitkiln.ir.ops import Linear, Requantise
from bitkiln.ir.units import DspBlock, MatrixVector, Multiplier, Packing, shared_packings
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule

ROWS = 8


def network(*bits: tuple[int, int]) -> Graph:
    """A chain of linear layers; weights and inputs of so many bits each, no weight being the least of all."""
    generator, build = torch.Generator().manual_seed(0), Builder("chain")
    x = build.input("x", TensorType((1, ROWS), Int(bits[0][1], False, 4)))
    for i, (weight, _) in enumerate(bits):
        high = 1 << (weight - 1)
        codes = torch.randint(1 - high, high, (ROWS, ROWS), generator=generator).to(torch.int8)
        name = build.constant(f"w{i}", TensorType((ROWS, ROWS), Int(weight, True, 4)), codes)
        sums = build.add(Linear(), (x, name), f"fc{i}")
        following = bits[i + 1][1] if i + 1 < len(bits) else 8
        x = build.add(Requantise(Int(following, False, 4), (4,)), (sums,), f"codes{i}")
    return build.graph((x,))


def units(plan: Plan) -> list[MatrixVector]:
    return [stage.unit for stage in plan.stages if isinstance(stage.unit, MatrixVector)]


def made(graph: Graph, dsp: int | None, block: DspBlock | None) -> list[tuple[str, int]]:
    """Kind and blocks of each layer, folded to four rows by two columns."""
    plan = schedule(graph, PlanOptions(dsp=dsp, dsp_block=block, layers=(LayerFolding("*", pe=4, simd=2),)))
    return [(unit.multiplier.value, unit.dsp_blocks) for unit in units(plan)]


def test_products_share_a_block_only_where_there_are_too_few() -> None:
    graph = network((8, 8), (8, 8))
    assert made(graph, None, DspBlock.MULT18) == [("dsp", 8), ("dsp", 8)]
    assert made(graph, 16, DspBlock.MULT18) == [("dsp", 8), ("dsp", 8)]
    assert made(graph, 15, DspBlock.MULT18) == [("packed", 4), ("dsp", 8)]
    assert made(graph, 8, DspBlock.MULT18) == [("packed", 4), ("packed", 4)]
    assert made(graph, 7, DspBlock.MULT18) == [("lut", 0), ("packed", 4)]
    assert made(graph, 8, None) == [("lut", 0), ("dsp", 8)]
    assert made(graph, 0, DspBlock.MULT18) == [("lut", 0), ("lut", 0)]


def test_two_products_of_8_bits_cost_nothing_in_a_mac16() -> None:
    assert made(network((8, 8), (4, 4)), None, DspBlock.MAC16) == [("packed", 4), ("packed", 4)]
    assert made(network((8, 8), (4, 4)), 7, DspBlock.MAC16) == [("packed", 4), ("lut", 0)]


def test_narrow_products_are_the_first_to_be_made_of_luts() -> None:
    assert made(network((4, 4), (8, 8)), 8, DspBlock.MULT18) == [("lut", 0), ("dsp", 8)]
    assert made(network((4, 4), (8, 8)), 12, DspBlock.MULT18) == [("packed", 4), ("dsp", 8)]


def test_constants_are_made_of_logic() -> None:
    """A layer that is not folded needs no blocks, unless they are asked for."""
    for wish, kind in ((None, "lut"), (Multiplier.DSP, "dsp")):
        layers = (LayerFolding("*", pe=ROWS, simd=ROWS, multiplier=wish),)
        (unit,) = units(schedule(network((8, 8)), PlanOptions(dsp_block=DspBlock.MULT18, layers=layers)))
        assert (unit.multiplier.value, unit.is_shift_add) == (kind, kind == "lut")


def test_packing_by_hand() -> None:
    wish = LayerFolding("fc0", pe=4, simd=2, multiplier=Multiplier.PACKED)
    (unit,) = units(schedule(network((8, 8)), PlanOptions(dsp_block=DspBlock.MULT18, layers=(wish,))))
    assert (unit.multiplier, unit.packing) == (Multiplier.PACKED, Packing(2, 10, 6))
    assert (unit.multipliers, unit.dsp_blocks, unit.packing_stages) == (8, 4, 2)
    with pytest.raises(ToolError) as error:
        schedule(network((8, 8)), PlanOptions(layers=(wish,)))
    assert str(error.value) == (
        "error[bad-folding]: fc0 cannot be packed: no two products of 8 by 8 bits fit a multiplier block of a board "
        'that is not known\n  help: multiplier = "dsp" or "lut", or fewer bits'
    )


def test_blocks_of_the_boards() -> None:
    assert ULX3S_85F.dsp_block is DspBlock.MULT18
    assert ICEBREAKER.dsp_block is DspBlock.MAC16
    assert HX8K_BREAKOUT.dsp_block is None
    assert all((board.dsp_block is not None) <= (board.resources.dsp > 0) for board in BOARDS)


@pytest.mark.parametrize("weight_bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("inputs", [(0, 1), (-8, 7), (0, 15), (-128, 127), (0, 255)])
def test_packed_products_come_apart(weight_bits: int, inputs: tuple[int, int]) -> None:
    """The arithmetic of `Packing` on the extremes and on random codes; the RTL does the same."""
    low = -(1 << (weight_bits - 1))
    rng = np.random.default_rng(0)
    for packing in shared_packings((low, -low - 1), inputs):
        weights = rng.integers(low, -low, (2000, packing.products))
        weights[:64] = rng.choice([low, -low - 1], (64, packing.products))
        x = rng.integers(inputs[0], inputs[1] + 1, 2000)
        x[:64] = rng.choice(inputs, 64)
        operand = (weights << np.arange(packing.products) * packing.distance).sum(1)
        assert np.abs(2 * operand + 1).max() < 1 << 18
        assert np.array_equal(_apart(packing, operand * x, weights, x), weights * x[:, None])


def _apart(packing: Packing, product: np.ndarray, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    distance, overlap = packing.distance, packing.overlap
    shifts = np.arange(packing.products) * distance
    digits = product[:, None] >> shifts
    digits[:, :-1] &= (1 << distance) - 1
    if overlap:
        carries = (digits[:, 1:] - (weights * x[:, None])[:, 1:]) & ((1 << overlap) - 1)
        carries -= (carries >> (overlap - 1)) << overlap
    else:
        carries = -(digits[:, :-1] >> (distance - 1))
    digits[:, :-1] += carries << distance
    digits[:, 1:] -= carries
    return digits
