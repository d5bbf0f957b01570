from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.hdl.units._count import CountForm
from bitkiln.hdl.units._products import signed_digits
from bitkiln.hdl.units._target import Target
from bitkiln.ir import ToolError
from bitkiln.ir.units import (
    MatrixVector,
    Multiplier,
    Packing,
    Products,
    Storage,
    Thresholds,
    WeightCode,
    count_stages,
    shared_packings,
)

from .rtl_bench import check, single_unit_plan

IMAGES = 4


def input_range(bits: int, is_signed: bool) -> tuple[int, int]:
    low = -(1 << (bits - 1)) if is_signed else 0
    return low, low + (1 << bits) - 1


@st.composite
def matrix_vectors(draw: st.DrawFn) -> MatrixVector:
    groups, pe, simd = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rows, columns = pe * draw(st.integers(1, 3)), simd * draw(st.integers(1, 3))
    weight_bits, is_scaled = draw(st.integers(2, 8)), draw(st.booleans())
    weight_code = draw(st.sampled_from([WeightCode.INTEGER, WeightCode.CODEBOOK]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shifts = draw(st.sampled_from([(3,), (2, 5), (4, -1, 3)]))
    storage = draw(st.sampled_from(Storage))
    input_bits, input_signed = draw(st.integers(1, 8)), draw(st.booleans())
    multiplier, packing = draw(st.sampled_from([Multiplier.DSP, Multiplier.LUT])), None
    least = -(1 << (weight_bits - 1)) + draw(st.integers(0, 1))
    packings = (
        *shared_packings((least, (1 << (weight_bits - 1)) - 1), input_range(input_bits, input_signed)),
        Packing(2),
    )
    if draw(st.booleans()):
        multiplier, packing = Multiplier.PACKED, draw(st.sampled_from(packings))
    return MatrixVector(
        vectors=draw(st.integers(1, 3)),
        groups=groups,
        rows=rows,
        columns=columns,
        pe=pe,
        simd=simd,
        input_bits=input_bits,
        input_signed=input_signed,
        weight_bits=weight_bits,
        accumulator_bits=26,
        bits=8 if is_scaled else 26,
        signed=True,
        lo=-100,
        hi=127,
        weights=rng.integers(least, 1 << (weight_bits - 1), (groups * rows, columns)),
        bias=rng.integers(-100, 100, groups * rows),
        shift=tuple(int(rng.choice(shifts)) for _ in range(groups * rows)) if is_scaled else (),
        multiplier=multiplier,
        packing=packing,
        storage=storage,
        weight_code=weight_code,
        renewable=weight_code is not WeightCode.CODEBOOK and draw(st.booleans()),
        banks=draw(st.integers(1, 2)) if storage.is_loaded else 1,
    )


@st.composite
def sign_vectors(draw: st.DrawFn) -> MatrixVector:
    """Signs on one side at least, with any ending: XNOR and popcount, add and subtract, two bit planes."""
    groups, pe, simd = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 17))
    rows, columns = pe * draw(st.integers(1, 3)), simd * draw(st.integers(1, 3))
    input_bipolar = draw(st.booleans())
    few = [WeightCode.BIPOLAR, WeightCode.TERNARY]
    others = [WeightCode.INTEGER, WeightCode.CODEBOOK] if input_bipolar else [WeightCode.POWER]
    weight_code = draw(st.sampled_from([*few, *others]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    weights = {
        WeightCode.BIPOLAR: 2 * rng.integers(0, 2, (groups * rows, columns)) - 1,
        WeightCode.TERNARY: rng.integers(-1, 2, (groups * rows, columns)),
        WeightCode.INTEGER: rng.integers(-8, 8, (groups * rows, columns)),
        WeightCode.CODEBOOK: rng.choice([-7, -1, 4], (groups * rows, columns)),
        WeightCode.POWER: rng.choice([-8, -2, -1, 0, 1, 4], (groups * rows, columns)),
    }[weight_code]
    count = draw(st.integers(0, 3))
    levels = np.sort(rng.integers(-columns, columns + 1, (groups * rows, count)), 1)
    pairs = draw(st.sampled_from([[(-1, 2)], [(-1, 2), (1, -2)], [(-2, 1)], [(0, 2), (3, -1)]]))
    chosen = [pairs[i] for i in rng.integers(0, len(pairs), groups * rows)]
    thresholds = Thresholds(levels, *zip(*chosen, strict=True)) if count else None
    is_bipolar = count == 1 and {abs(base) for base, _ in chosen} == {1}
    shift = tuple(rng.integers(-1, 3, groups * rows).tolist()) if not count and draw(st.booleans()) else ()
    bits = {True: 1, False: 16 if not count and not shift else 5}[is_bipolar]
    return MatrixVector(
        vectors=draw(st.integers(1, 2)),
        groups=groups,
        rows=rows,
        columns=columns,
        pe=pe,
        simd=simd,
        input_bits=1 if input_bipolar else draw(st.integers(1, 4)),
        input_signed=not input_bipolar and draw(st.booleans()),
        weight_bits={WeightCode.BIPOLAR: 1, WeightCode.TERNARY: 2}.get(weight_code, 4),
        accumulator_bits=16,
        bits=bits,
        signed=not is_bipolar,
        lo=-9,
        hi=14,
        weights=weights,
        bias=rng.integers(-5, 6, groups * rows),
        shift=shift,
        storage=draw(st.sampled_from([Storage.BLOCK, Storage.LOADED])),
        weight_code=weight_code,
        renewable=weight_code is not WeightCode.CODEBOOK and draw(st.booleans()),
        input_bipolar=input_bipolar,
        output_bipolar=is_bipolar,
        thresholds=thresholds,
    )


def reference(unit: MatrixVector, x: np.ndarray) -> np.ndarray:
    """x: [images, vectors, groups, columns]; sums in 64 bits, shifts in Python's integers."""
    weights = unit.weights.reshape(unit.groups, unit.rows, unit.columns)
    sums: np.ndarray = np.einsum("grc,nvgc->nvgr", weights, x) + unit.bias.reshape(unit.groups, unit.rows)
    if unit.thresholds:
        reached = sums[..., None] >= unit.thresholds.values.reshape(unit.groups, unit.rows, -1)
        base, step = (np.array(v).reshape(unit.groups, -1) for v in (unit.thresholds.base, unit.thresholds.step))
        codes: np.ndarray = base + step * reached.sum(-1)
        return codes
    if not unit.shift:
        return sums
    flat = sums.reshape(-1, unit.groups * unit.rows).tolist()
    scaled = [[a >> s if s >= 0 else a << -s for a, s in zip(row, unit.shift, strict=True)] for row in flat]
    return np.clip(np.array(scaled), unit.lo, unit.hi)


@settings(max_examples=25)
@given(matrix_vectors(), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1 << 30))
def test_rtl_computes_and_times_as_declared(unit: MatrixVector, depth_in: int, depth_out: int, seed: int) -> None:
    low, high = input_range(unit.input_bits, unit.input_signed)
    x = np.random.default_rng(seed).integers(low, high + 1, (IMAGES, unit.vectors, unit.groups, unit.columns))
    beats_in = unit.vectors * unit.groups * unit.column_folds
    beats_out = unit.vectors * unit.groups * unit.row_folds
    check(single_unit_plan(unit, beats_in, beats_out, depth_in, depth_out), x, reference(unit, x))


@settings(max_examples=30)
@given(sign_vectors(), st.integers(1, 8), st.integers(0, 1 << 30))
def test_signs_need_no_multiplier(unit: MatrixVector, depth_out: int, seed: int) -> None:
    assert unit.products is not Products.MULTIPLY
    assert unit.multipliers == 0
    low, high = unit.inputs[0].code_range
    x = np.random.default_rng(seed).integers(low, high + 1, (IMAGES, unit.vectors, unit.groups, unit.columns))
    x = np.where(x == 0, 1, x) if unit.input_bipolar else x
    beats_in = unit.vectors * unit.groups * unit.column_folds
    beats_out = unit.vectors * unit.groups * unit.row_folds
    check(single_unit_plan(unit, beats_in, beats_out, 2, depth_out), x, reference(unit, x))


def test_constant_weights_are_shifts_and_sums() -> None:
    weights = np.array([[0, 0, 0], [-128, 127, 1], [0, 85, -86], [3, 0, -1]])
    unit = MatrixVector(
        *(2, 1, 4, 3, 4, 3, 8, True, 8, 20, 20, True, 0, 0, weights, np.array([5, -1, 0, 7])),
        multiplier=Multiplier.LUT,
        storage=Storage.LUT,
    )
    assert unit.is_shift_add
    x = np.random.default_rng(0).integers(-128, 128, (IMAGES, 2, 1, 3))
    check(single_unit_plan(unit, 2, 2, 2, 2), x, reference(unit, x))


@pytest.mark.parametrize("input_bipolar", [False, True])
def test_constants_of_zero_are_not_added_up(input_bipolar: bool) -> None:
    rng = np.random.default_rng(1)
    weights = np.where(rng.random((4, 40)) < 0.2, rng.choice([-1, 1], (4, 40)), 0)
    weights[2] = 0
    weights[3] = [0] * 39 + [-1]
    bits = 1 if input_bipolar else 4
    unit = MatrixVector(
        *(2, 1, 4, 40, 4, 40, bits, not input_bipolar, 2, 16, 16, True, 0, 0, weights, np.array([5, -1, 0, 7])),
        weight_code=WeightCode.TERNARY,
        input_bipolar=input_bipolar,
    )
    assert unit.summands == np.count_nonzero(weights, 1).max() == 7
    assert unit.tree_stages == (2 if input_bipolar else 3)
    low, high = unit.inputs[0].code_range
    x = rng.integers(low, high + 1, (IMAGES, 2, 1, 40))
    x = np.where(x == 0, 1, x) if input_bipolar else x
    check(single_unit_plan(unit, 2, 2, 2, 2), x, reference(unit, x))


def test_a_count_has_the_smallest_form_that_meets_the_clock() -> None:
    assert CountForm.of(Target.ECP5, 128, 25e6) is CountForm.COMPACT
    assert CountForm.of(Target.ECP5, 128, 150e6) is CountForm.FAST
    assert CountForm.of(Target.ECP5, 16, 150e6) is CountForm.COMPACT
    assert CountForm.of(Target.ICE40, 128, 150e6) is CountForm.COMPACT
    assert CountForm.of(Target.ICE40, 128, 250e6) is CountForm.FAST


def test_signed_digits() -> None:
    for weight in range(-130, 130):
        digits = signed_digits(weight)
        assert sum(digit << place for place, digit in enumerate(digits)) == weight
        assert all(not (a and b) for a, b in itertools.pairwise(digits))


def test_ones_of_many_bits_are_counted_in_few_stages() -> None:
    assert [count_stages(bits) for bits in (1, 3, 4, 6, 7, 12, 48, 96, 128, 192)] == [1, 1, 2, 2, 3, 3, 5, 6, 7, 7]


def test_folding_must_divide() -> None:
    zeros = np.zeros((6, 4), np.int64)
    with pytest.raises(ToolError, match=r"pe must divide 6, not 4\n  help: legal values: 1, 2, 3, 6"):
        MatrixVector(1, 1, 6, 4, 4, 1, 8, True, 8, 20, 20, True, 0, 0, zeros, zeros[:, 0])
