"""The exact choice under budgets, against all choices tried one by one."""

from __future__ import annotations

import itertools
import random

import pytest

from bitkiln.passes._trellis import Choice, Option, Trellis

LANES = (1, 2, 3, 6)


def _drawn(rng: random.Random) -> tuple[list[Choice], tuple[float, ...]]:
    """A chain with a skip over some layers, and budgets that now and then allow nothing."""
    count = rng.randint(2, 5)
    choices = []
    for i in range(count):
        before = "input" if i == 0 else f"v{i - 1}"
        sources = (before,) if i < 2 or rng.random() < 0.6 else (before, f"v{rng.randrange(i - 1)}")
        options = tuple(
            Option(
                rng.choice(LANES),
                rng.choice(LANES),
                tuple(float(rng.randint(0, 9)) for _ in range(3)),
                rng.randint(1, 9),
            )
            for _ in range(rng.randint(1, 4))
        )
        choices.append(Choice(sources, f"v{i}", options))
    return choices, tuple(float(rng.randint(3, 7) * count) for _ in range(3))


def _join(source: str, there: int, wanted: int) -> tuple[float, ...] | None:
    if there == wanted:
        return (0.0, 0.0, 0.0)
    return None if {there, wanted} == {1, 6} else (1.0, 0.0, float(len(source) % 2))


def _tried(choices: list[Choice], budget: tuple[float, ...]) -> float | None:
    values = []
    for picked in itertools.product(*(choice.options for choice in choices)):
        lanes: dict[str, int] = {}
        cost, is_joined = [0.0] * len(budget), True
        for choice, option in zip(choices, picked, strict=True):
            for source in choice.sources:
                joined = _join(source, lanes.setdefault(source, option.simd), option.simd)
                is_joined = is_joined and joined is not None
                cost = [a + b for a, b in zip(cost, joined or cost, strict=True)]
            cost = [a + b for a, b in zip(cost, option.cost, strict=True)]
            lanes[choice.node] = option.pe
        if is_joined and all(a <= b for a, b in zip(cost, budget, strict=True)):
            values.append(sum(option.value for option in picked))
    return min(values, default=None)


@pytest.mark.parametrize("seed", range(100))
def test_the_least_value_is_that_of_all_choices(seed: int) -> None:
    choices, budget = _drawn(random.Random(seed))
    trellis = Trellis(choices, _join)
    expected = _tried(choices, budget)
    if trellis.is_empty:
        assert expected is None
        return
    found = trellis.solve(budget)
    assert found.is_proven
    assert (found.best.value if found.best else None) == expected
    if found.best:
        assert all(need <= limit for need, limit in zip(found.best.cost, budget, strict=True))
    assert (trellis.solve(budget, is_any_enough=True).best is None) == (expected is None)
