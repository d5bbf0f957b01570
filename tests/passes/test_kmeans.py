from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.passes import _kmeans
from bitkiln.passes._kmeans import Initialisation, Line, assign, cluster, optimal_cuts


def error(line: Line, centroids: _kmeans.Floats) -> float:
    """Squared error when each value takes its nearest centroid, straight from the definition."""
    return float(np.square(line.values[:, None].astype(np.float64) - centroids).min(1).sum())


def least_error(values: np.ndarray[tuple[int], np.dtype[np.float64]], count: int) -> float:
    """The best of all ways to cut the sorted values into runs: optimal clusters on a line are such."""
    ordered, best = np.sort(values), np.inf
    for cuts in itertools.combinations(range(1, len(values)), count - 1):
        runs = np.split(ordered, cuts)
        best = min(best, sum(float(np.square(run - run.mean()).sum()) for run in runs))
    return best


def test_by_hand() -> None:
    line = Line.of(np.array([10.0, 1.0, 2.0, 11.0, 3.0]))
    assert cluster(line, 2, Initialisation.OPTIMAL, 0).tolist() == [2.0, 10.5]
    assert cluster(line, 5, Initialisation.OPTIMAL, 0).tolist() == [1, 2, 3, 10, 11]
    assert cluster(line, 1, Initialisation.LINEAR, 0).tolist() == [5.4]


@given(st.lists(st.integers(-8, 8) | st.floats(-8, 8, width=32), min_size=1, max_size=10), st.integers(1, 6))
def test_optimal_is_the_least_of_all_errors(values: list[float], count: int) -> None:
    array = np.array(values, np.float64)
    count = min(count, len(np.unique(array)))
    line = Line.of(array)
    found = cluster(line, count, Initialisation.OPTIMAL, 0)
    assert error(line, found) == pytest.approx(least_error(array, count), abs=1e-9)


def test_optimal_beats_every_initialisation_on_weights() -> None:
    rng = np.random.default_rng(0)
    line = Line.of((rng.normal(size=3000) * 0.05).astype(np.float32))
    errors = {start: error(line, cluster(line, 16, start, 1)) for start in Initialisation}
    assert errors[Initialisation.OPTIMAL] <= min(errors.values()) * (1 + 1e-12)


def slow_optimum(values: list[float], count: int) -> float:
    """The textbook recurrence, cubic in the number of values."""
    ordered = np.sort(values)

    def cost(first: int, last: int) -> float:
        run = ordered[first:last]
        return float(np.square(run - run.mean()).sum())

    best = [cost(0, end) if end else 0.0 for end in range(len(values) + 1)]
    for runs in range(2, count + 1):
        best = [
            min((best[begin] + cost(begin, end) for begin in range(runs - 1, end)), default=np.inf)
            for end in range(len(values) + 1)
        ]
    return best[-1]


def test_optimum_of_many_runs() -> None:
    values = np.random.default_rng(3).normal(size=70)
    line = Line.of(values)
    for count in (2, 7, 31, 69):
        cuts = optimal_cuts(line, np.arange(71), count)
        assert len(cuts) == count + 1
        assert line.errors(cuts).sum() == pytest.approx(slow_optimum(values.tolist(), count), abs=1e-9)


@pytest.mark.parametrize("start", Initialisation)
@pytest.mark.parametrize("limit", [1 << 12, 64])
def test_result_is_a_fixed_point_without_empty_clusters(
    start: Initialisation, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more values differ than cells are allowed."""
    monkeypatch.setattr(_kmeans, "MAX_OPTIMAL", limit)
    rng = np.random.default_rng(2)
    for values in (rng.normal(size=500), np.concatenate([rng.normal(size=300), [50.0, 51.0, -1e3]])):
        line = Line.of(values.astype(np.float32))
        centroids = cluster(line, 16, start, 5)
        places = assign(line.values, centroids)
        means = [line.values[places == place].astype(np.float64).mean() for place in range(16)]
        assert means == pytest.approx(centroids.tolist(), rel=1e-6)
        nearest = np.abs(line.values[:, None].astype(np.float64) - centroids)
        assert np.array_equal(nearest[np.arange(len(places)), places], nearest.min(1))


def test_cells_where_nearly_all_values_agree() -> None:
    """Neither equal widths nor equal numbers tell the values between 0 and 1e-6 apart; changes do."""
    values = np.concatenate([np.zeros(1_000_000), np.linspace(1e-9, 1e-6, 5000), [1.0]])
    line = Line.of(values)
    centroids = cluster(line, 16, Initialisation.OPTIMAL, 0)
    assert (np.diff(line.cuts(centroids)) > 0).all()


def test_initialisations_by_hand() -> None:
    line = Line.of(np.array([0.0, 1.0, 1.5, 2.0, 8.0]))
    assert _kmeans._start(line, 3, Initialisation.LINEAR, 0).tolist() == [0, 4, 8]
    assert _kmeans._start(line, 5, Initialisation.DENSITY, 0).tolist() == [0, 1, 1.5, 2, 8]
    assert _kmeans._start(line, 2, Initialisation.DENSITY, 0).tolist() == [1, 2]
    chosen = _kmeans._start(line, 3, Initialisation.RANDOM, 0)
    assert set(chosen.tolist()) <= set(line.values.tolist())
    assert len(set(chosen.tolist())) == 3
    assert chosen.tolist() == _kmeans._start(line, 3, Initialisation.RANDOM, 0).tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_assignment_is_the_nearest_centroid(dtype: type[np.floating]) -> None:
    """A value halfway goes to the lower one, in every format and for values of every size."""
    rng = np.random.default_rng(4)
    centroids = np.unique(rng.normal(size=50).astype(dtype)).astype(np.float64)
    values = np.concatenate([rng.normal(size=4000), rng.normal(size=50) * 1e-3, [0.0, -0.0, 100, -100]]).astype(dtype)
    distance = np.abs(values[:, None].astype(np.float64) - centroids)
    assert np.array_equal(assign(values.reshape(2, -1), centroids).reshape(-1), distance.argmin(1))
    assert assign(np.array([0.5, 1.5], dtype), np.array([0.0, 1.0, 2.0])).tolist() == [0, 1]
