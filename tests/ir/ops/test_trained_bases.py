from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir.ops import (
    BasisWeight,
    BinaryScale,
    BinaryWeight,
    LearnedTernaryWeight,
    ResidualWeight,
    ShiftedBasesWeight,
    TernaryWeight,
    WeightQuantiser,
)
from bitkiln.ir.ops.trained_bases import fitted_basis, nearest_combination, residual_bases, sign_table

SEEDS = st.integers(0, 2**31)


def weights(seed: int, rows: int = 3, columns: int = 20) -> Tensor:
    return torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


def error(value: Tensor, weight: Tensor) -> float:
    return float((value - weight).square().sum())


@given(SEEDS, st.floats(0.5, 2.0))
def test_the_scale_of_bwn_is_the_one_of_least_squared_error(seed: int, factor: float) -> None:
    weight = weights(seed)
    codes, scale = BinaryWeight(BinaryScale.CHANNEL).codes(weight)
    assert torch.equal(codes, torch.where(weight >= 0, 1.0, -1.0))
    assert torch.allclose(scale, weight.abs().mean(1))
    assert error(codes * scale[:, None], weight) <= error(codes * scale[:, None] * factor, weight) + 1e-5
    for signs in (codes.roll(1, 1), -codes):
        assert error(codes * scale[:, None], weight) <= error(signs * scale[:, None], weight)


def test_binary_gradients() -> None:
    start = torch.tensor([[0.5, -2.0], [0.25, -0.75]])
    upstream = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    def gradient(op: BinaryWeight, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        weight = start.clone().requires_grad_()
        value = op.evaluate(weight, *parameters)
        (value * upstream).sum().backward()
        assert weight.grad is not None
        return value.detach(), weight.grad

    assert gradient(BinaryWeight(BinaryScale.NONE))[1].tolist() == upstream.tolist()
    # XNOR-Net: (1/n + alpha * [|w| <= 1]) times the gradient of the binary weight; alpha is 1.25 and 0.5.
    value, found = gradient(BinaryWeight(BinaryScale.CHANNEL))
    assert value.tolist() == [[1.25, -1.25], [0.5, -0.5]]
    assert found.tolist() == [[0.5 + 1.25, 2 * 0.5], [3 * (0.5 + 0.5), 4 * (0.5 + 0.5)]]
    scale = torch.tensor([0.25], requires_grad=True)
    value, found = gradient(BinaryWeight(BinaryScale.LEARNED), scale)
    assert value.tolist() == [[0.25, -0.25], [0.25, -0.25]]
    assert found.tolist() == (upstream * 0.25).tolist()
    assert scale.grad is not None
    assert scale.grad.tolist() == [1.0 - 2.0 + 3.0 - 4.0]


def test_binary_weights_without_means_keep_their_latent_weights_small() -> None:
    limits = {scale: BinaryWeight(scale).latent_limit for scale in BinaryScale}
    assert limits == {
        BinaryScale.NONE: 1.0,
        BinaryScale.TENSOR: None,
        BinaryScale.CHANNEL: None,
        BinaryScale.LEARNED: 1.0,
    }


@given(SEEDS, st.floats(0.0, 0.9), st.booleans())
def test_twn_is_the_formula(seed: int, threshold: float, per_channel: bool) -> None:
    weight = weights(seed)
    codes, scale = TernaryWeight(threshold, per_channel).codes(weight)
    for i in range(len(weight)):
        part = weight[i] if per_channel else weight.flatten()
        is_kept = part.abs() > threshold * part.abs().mean()
        assert float(scale[i if per_channel else 0]) == pytest.approx(float(part.abs()[is_kept].mean()), rel=1e-5)
        limit = threshold * part.abs().mean()
        assert torch.equal(codes[i], torch.sign(weight[i]) * (weight[i].abs() > limit))


def test_ttq_values_and_gradients() -> None:
    weight = torch.tensor([[1.0, 0.02, -0.5, 0.3]], requires_grad=True)
    high, low = torch.tensor([0.5], requires_grad=True), torch.tensor([0.25], requires_grad=True)
    value = LearnedTernaryWeight(0.05).evaluate(weight, high, low)
    assert value.tolist() == [[0.5, 0.0, -0.25, 0.5]]
    (value * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert weight.grad is not None
    assert high.grad is not None
    assert low.grad is not None
    assert weight.grad.tolist() == [[0.5, 2.0, 3 * 0.25, 4 * 0.5]]
    assert high.grad.tolist() == [5.0]
    assert low.grad.tolist() == [-3.0]


@given(SEEDS, st.floats(0.01, 4.0), st.floats(0.01, 4.0))
def test_ttq_has_three_values_near_its_scales(seed: int, high: float, low: float) -> None:
    weight = weights(seed)
    codes, step = LearnedTernaryWeight(0.05, bits=10).codes(weight, torch.tensor([high]), torch.tensor([low]))
    values = codes * step
    limit = 0.05 * float(weight.abs().max())
    for part, wanted in ((weight > limit, high), (weight < -limit, -low), (weight.abs() <= limit, 0.0)):
        found = values[part].unique()
        assert len(found) <= 1
        assert bool(((found - wanted).abs() <= float(step)).all())


def test_sign_table_counts_in_binary() -> None:
    assert sign_table(2, torch.zeros(1)).tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]


@given(SEEDS, st.integers(1, 4))
def test_nearest_combinations_are_nearest(seed: int, bases: int) -> None:
    rows, basis = weights(seed), weights(seed + 1, 3, bases)
    levels = basis @ sign_table(bases, basis).t()
    chosen = levels.gather(1, nearest_combination(rows, basis))
    least = (rows[:, :, None] - levels[:, None, :]).abs().amin(2)
    assert torch.allclose((rows - chosen).abs(), least, atol=1e-6)


@given(SEEDS, st.integers(1, 4))
def test_neither_half_of_an_lq_step_lets_the_squared_error_grow(seed: int, bases: int) -> None:
    rows = weights(seed, 2, 40)
    basis = residual_bases(rows, bases)[1]
    table, before = sign_table(bases, rows), float("inf")
    for _ in range(4):
        choice = nearest_combination(rows, basis)
        after_choice = error((basis @ table.t()).gather(1, choice), rows)
        assert after_choice <= before * (1 + 1e-5) + 1e-6
        basis = fitted_basis(rows, choice, bases)
        before = error((basis @ table.t()).gather(1, choice), rows)
        assert before <= after_choice * (1 + 1e-5) + 1e-6


@given(SEEDS, st.integers(1, 3), st.booleans())
def test_lq_weights_are_the_nearest_of_their_levels(seed: int, bases: int, per_channel: bool) -> None:
    weight = weights(seed)
    start = residual_bases(weight if per_channel else weight.reshape(1, -1), bases)[1]
    codes, step = BasisWeight(bases).codes(weight, start)
    assert codes.shape == weight.shape
    assert torch.equal(codes, codes.round())
    for row in codes if per_channel else [codes]:
        assert len(row.unique()) <= 2**bases
    assert error(codes * step[:, None], weight) <= error(torch.zeros(()), weight)


@given(SEEDS, st.integers(1, 4))
def test_abc_factors_are_those_of_least_squares(seed: int, bases: int) -> None:
    weight = weights(seed)
    signs, factors = ShiftedBasesWeight(bases).fit(weight)
    flat = weight.flatten()
    for i, shift in enumerate([0.0] if bases == 1 else torch.linspace(-1, 1, bases).tolist()):
        shifted = flat - flat.mean() + shift * flat.std(correction=0)
        assert torch.equal(signs[i], torch.where(shifted >= 0, 1.0, -1.0))
    residue = flat - factors @ signs
    assert torch.allclose(signs @ residue, torch.zeros(bases), atol=1e-4)  # orthogonal to every basis


def test_the_gradient_of_abc_is_the_sum_of_its_factors() -> None:
    weight = weights(0).requires_grad_()
    op = ShiftedBasesWeight(3)
    op.evaluate(weight).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, op.fit(weight.detach())[1].sum().expand(3, 20))


@given(SEEDS, st.integers(1, 6))
def test_the_residue_of_horq_falls(seed: int, order: int) -> None:
    rows = weights(seed)
    bases, factors = residual_bases(rows, order)
    residue = rows
    for i in range(order):
        after = residue - factors[:, i, None] * bases[:, i]
        before_norm, after_norm = residue.square().sum(1), after.square().sum(1)
        assert bool((after_norm <= before_norm * (1 + 1e-6)).all())
        # By exactly n * b_i squared: b_i is the best factor for the signs.
        assert torch.allclose(before_norm - after_norm, 20 * factors[:, i].square(), rtol=1e-3, atol=1e-3)
        residue = after


@given(SEEDS, st.integers(1, 4))
def test_more_orders_of_horq_come_nearer(seed: int, order: int) -> None:
    weight = weights(seed, 2, 200)
    errors = [error(ResidualWeight(i, bits=12).evaluate(weight), weight) for i in range(1, order + 1)]
    assert all(later <= earlier * 1.01 for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize(
    "op",
    [
        *(BinaryWeight(scale) for scale in BinaryScale if scale is not BinaryScale.LEARNED),
        *(TernaryWeight(), ShiftedBasesWeight(3), ResidualWeight(2)),
    ],
)
def test_values_are_codes_times_scale_in_every_dtype(op: WeightQuantiser) -> None:
    weight = weights(7)
    codes, scale = op.codes(weight)
    assert torch.equal(codes, codes.round())
    assert bool((scale > 0).all())
    assert torch.equal(op.evaluate(weight), codes * scale[:, None])
    assert torch.equal(op.evaluate(weight.double()), codes.double() * scale.double()[:, None])
    assert torch.equal(op.evaluate(weight.clone().requires_grad_()).detach(), codes * scale[:, None])
