"""EIE's printed layers: theoretical and actual times, none of them fitted."""

from __future__ import annotations

import pytest

from benchmarks.eie_published import PUBLISHED_WATTS, Published, published, simulated

LAYERS = tuple(published())
UNLIKE_PRINT = {"VGG-6": 0.3, "Alex-8": 0.3}
"""Layers whose real densities differ from the printed averages, and how far off they may be."""


@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.layer.name)
def test_times_are_near_the_printed_ones(item: Published) -> None:
    found, limit = simulated(item.layer, seed=1), UNLIKE_PRINT.get(item.layer.name, 0.1)
    assert found.theoretical_us == pytest.approx(item.theoretical_us, rel=limit)
    assert found.actual_us == pytest.approx(item.actual_us, rel=limit)


def test_all_nine_are_there() -> None:
    assert len(LAYERS) == 9


def test_power_on_alexnet_is_that_of_the_chip() -> None:
    """Layers fc6 and fc7, where the masks fit the print; counts times prices leave out the clock network."""
    for item in LAYERS[:2]:
        assert simulated(item.layer, seed=1).watts == pytest.approx(PUBLISHED_WATTS, rel=0.1)
