"""Deep Compression's argument for AlexNet's last three layers, from counts and prices."""

from __future__ import annotations

import math

import pytest

from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.simulate import simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.topology import parse_topology
from bitkiln.sim.waterfall import waterfall

ALEXNET = """Layer, M, N, K, Weight density, Activation density
fc6, 1, 4096, 9216, 0.09, 0.351
fc7, 1, 4096, 4096, 0.09, 0.353
fc8, 1, 1000, 4096, 0.25, 0.375
"""


def test_factors_are_the_published_ones() -> None:
    """120, 10, 8 and 3 times; together 28,800 (Han et al., EIE, section VI-B)."""
    steps = waterfall(parse_topology(ALEXNET, "a").layers, find_accelerator("eie"), find_technology("45nm-eie"))
    dram, sram, sparse, shared, skipped, matrix, total = steps
    assert dram.energy == pytest.approx((9216 * 4096 + 4096 * 4096 + 4096 * 1000) * 640)
    assert sram.factor == pytest.approx(128)
    assert sparse.factor == pytest.approx(10, rel=0.05)
    assert shared.factor == 8
    assert skipped.factor == pytest.approx(3, rel=0.1)
    assert math.prod(step.factor for step in steps[:5]) == pytest.approx(28_800, rel=0.05)
    assert matrix.energy > skipped.energy
    assert total.energy > matrix.energy


def test_the_end_is_what_the_engine_costs() -> None:
    workload, chip = parse_topology(ALEXNET, "a"), find_accelerator("eie")
    found = simulate(workload, chip, find_technology("45nm-eie"))
    on_chip = found.energy.total_pj - found.energy.dram_pj
    assert waterfall(workload.layers, chip, find_technology("45nm-eie"))[-1].energy == pytest.approx(on_chip)
    assert found.weights.fits


def test_an_addition_is_6400_times_cheaper_than_dram() -> None:
    table = find_technology("45nm-eie")
    assert 32 * table.dram.pj_per_bit / table.add_pj(32) == pytest.approx(6400)
    assert table.dram.pj_per_bit / table.sram_pj_per_bit(8 * 32768) == pytest.approx(128)
