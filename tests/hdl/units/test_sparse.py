from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir.units import MatrixVector, SparseMatrixVector, Thresholds, vector_cycles
from bitkiln.ir.units.sparse import Entries
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.image_cycles import image_output_cycles

from .rtl_bench import check, single_unit_plan

IMAGES = 4


@st.composite
def sparse_vectors(draw: st.DrawFn) -> SparseMatrixVector:
    pe, simd = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rows, columns = pe * draw(st.sampled_from([1, 2, 5, 9])), simd * draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    values = draw(st.sampled_from([(-7, 3), tuple(range(-8, 8))]))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    weights = rng.choice(values, (rows, columns)) * (rng.random((rows, columns)) < density)
    ending = draw(st.sampled_from(["sum", "shift", "threshold"]))
    levels = np.sort(rng.integers(-30, 30, (rows, 2)), 1)
    dense = MatrixVector(
        vectors=draw(st.integers(1, 3)),
        groups=1,
        rows=rows,
        columns=columns,
        pe=pe,
        simd=simd,
        input_bits=4,
        input_signed=draw(st.booleans()),
        weight_bits=4,
        accumulator_bits=14,
        bits={"sum": 14, "shift": 5, "threshold": 2}[ending],
        signed=ending != "threshold",
        lo=-16,
        hi=15,
        weights=weights,
        bias=rng.integers(-20, 20, rows),
        shift=tuple(rng.integers(0, 4, rows).tolist()) if ending == "shift" else (),
        thresholds=Thresholds(levels, (0,) * rows, (1,) * rows) if ending == "threshold" else None,
    )
    return SparseMatrixVector(
        dense, draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([2, 4, 7])), draw(st.booleans())
    )


def reference(unit: MatrixVector, x: np.ndarray) -> np.ndarray:
    """x: [images, vectors, columns]."""
    sums: np.ndarray = np.einsum("rc,nvc->nvr", unit.weights, x) + unit.bias
    if unit.thresholds:
        reached: np.ndarray = (sums[..., None] >= unit.thresholds.values).sum(-1)
        return reached
    return np.clip(sums >> np.array(unit.shift), unit.lo, unit.hi) if unit.shift else sums


@settings(max_examples=40)
@given(sparse_vectors(), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1 << 30))
def test_rtl_computes_and_times_as_declared(unit: SparseMatrixVector, depth_in: int, depth_out: int, seed: int) -> None:
    dense = unit.dense
    low, high = unit.inputs[0].code_range
    rng = np.random.default_rng(seed)
    x = rng.integers(low, high + 1, (IMAGES, dense.vectors, dense.columns))
    x *= rng.random(x.shape) < rng.choice([0.0, 0.3, 0.8, 1.0])
    beats_in, beats_out = dense.vectors * dense.column_folds, dense.vectors * dense.row_folds
    check(single_unit_plan(unit, beats_in, beats_out, depth_in, depth_out), x, reference(dense, x))


@settings(max_examples=20)
@given(sparse_vectors(), st.integers(1, 5))
def test_both_models_agree_where_nothing_is_skipped(unit: SparseMatrixVector, depth: int) -> None:
    """Inputs that are never 0, through the solver of repeating plans and the one of given images."""
    dense = unit.dense
    plan = single_unit_plan(unit, dense.vectors * dense.column_folds, dense.vectors * dense.row_folds, depth, depth)
    x = np.ones((IMAGES, dense.vectors * dense.columns), np.int64)
    assert np.array_equal(image_output_cycles(plan, x), dataflow_cycles(plan).output_cycles(IMAGES))


def test_gaps_without_room_take_fillers() -> None:
    """Rows 0 and 11 of one column, gaps of two bits: after row 0 come ten zeros, two fillers skip four rows each."""
    weights = np.zeros((12, 1), np.int64)
    weights[[0, 11], 0] = (5, -3)
    entries = Entries.of(weights, 1, 2)
    assert entries.gaps == ((0, 3, 3, 2),)
    assert entries.codes == ((5, 0, 0, -3),)
    assert entries.counts.tolist() == [[4]]


@settings(max_examples=20)
@given(sparse_vectors())
def test_estimate_is_near(unit: SparseMatrixVector) -> None:
    dense = unit.dense
    plan = single_unit_plan(unit, dense.vectors * dense.column_folds, dense.vectors * dense.row_folds, 16, 16)
    exact = dataflow_cycles(plan).interval
    assert abs(exact - dense.vectors * vector_cycles(unit)) <= 2 * dense.vectors
