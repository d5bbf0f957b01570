from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import Float, TensorType, ToolError
from bitkiln.ir.ops import (
    FixedPointWeight,
    IncrementalWeight,
    LearnedStepWeight,
    LogWeight,
    TanhWeight,
    UniformWeight,
)
from bitkiln.ir.ops.trained_uniform import incremental_powers, to_powers

SEEDS = st.integers(0, 2**31)
BITS = st.integers(2, 8)


def weights(seed: int, spread: float = 1.0, shape: tuple[int, ...] = (4, 3, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


def gradient(op: UniformWeight | LogWeight | FixedPointWeight | TanhWeight, weight: Tensor) -> Tensor:
    latent = weight.clone().requires_grad_()
    op.evaluate(latent).sum().backward()
    assert latent.grad is not None
    return latent.grad


@given(SEEDS, BITS, st.booleans(), st.floats(1e-3, 1e3))
def test_symmetric_codes_lie_within_half_a_step(seed: int, bits: int, per_channel: bool, spread: float) -> None:
    weight = weights(seed, spread)
    op = UniformWeight(bits, per_channel)
    codes, scale = op.codes(weight)
    highest = 2 ** (bits - 1) - 1
    assert scale.shape == ((4,) if per_channel else (1,))
    assert torch.equal(codes, codes.round())
    assert float(codes.abs().max()) == highest
    steps = scale.reshape(-1, 1, 1, 1)
    assert bool(((op.evaluate(weight) - weight).abs() <= 0.5001 * steps).all())
    rows = weight.flatten(1) if per_channel else weight.reshape(1, -1)
    assert torch.allclose(scale * highest, rows.abs().amax(1))


@given(SEEDS, BITS, st.booleans(), st.floats(-3, 3))
def test_affine_codes_hold_the_range_and_an_exact_zero(seed: int, bits: int, per_channel: bool, shift: float) -> None:
    weight = weights(seed) + shift
    weight[0, 0, 0, 0] = 0.0
    op = UniformWeight(bits, per_channel, affine=True)
    codes, scale = op.codes(weight)
    rows = codes.flatten(1) if per_channel else codes.reshape(1, -1)
    assert bool((rows.amax(1) - rows.amin(1) <= 2**bits - 1).all())
    assert op.evaluate(weight)[0, 0, 0, 0] == 0
    assert bool(((op.evaluate(weight) - weight).abs() <= scale.reshape(-1, 1, 1, 1) * 1.0001).all())


def test_the_gradient_of_uniform_and_log_weights_is_one() -> None:
    assert torch.equal(gradient(UniformWeight(3), weights(0)), torch.ones(4, 3, 3, 3))
    assert torch.equal(gradient(LogWeight(3), weights(0)), torch.ones(4, 3, 3, 3))


@given(SEEDS, BITS, st.floats(1e-4, 1e4), st.sampled_from([0.0, 0.01, 0.1]))
def test_fixed_point_takes_the_least_step_at_which_few_saturate(
    seed: int, bits: int, spread: float, overflow: float
) -> None:
    weight = weights(seed, spread)
    codes, step = FixedPointWeight(bits, overflow=overflow).codes(weight)
    assert math.log2(float(step)).is_integer()
    highest = 2 ** (bits - 1) - 1
    allowed = int(overflow * weight.numel())

    def saturated(size: float) -> int:
        return int((weight.abs() / size > highest + 0.5).sum())

    assert saturated(float(step)) <= allowed < saturated(float(step) / 2)
    assert int(codes.max()) <= highest
    assert int(codes.min()) >= -highest - 1


def test_fixed_point_follows_weights_that_grow() -> None:
    op = FixedPointWeight(4)
    weight = torch.tensor([[0.4, -0.9]])
    assert float(op.codes(weight)[1]) == 0.125
    assert float(op.codes(weight * 3)[1]) == 0.5


def test_saturated_weights_have_no_gradient() -> None:
    weight = torch.tensor([[0.1] * 9 + [4.0]])
    assert gradient(FixedPointWeight(3, overflow=0.1), weight).tolist() == [[1.0] * 9 + [0.0]]


def test_lsq_gradients_are_those_of_the_paper() -> None:
    weight = torch.tensor([[0.3, -0.6, 2.0, -9.0]], requires_grad=True)
    step = torch.tensor([-1.0], requires_grad=True)
    op = LearnedStepWeight(3)
    value = op.evaluate(weight, step)
    assert value.tolist() == [[0.5, -0.5, 1.5, -2.0]]
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    (value * upstream).sum().backward()
    assert weight.grad is not None
    assert step.grad is not None
    assert weight.grad.tolist() == [[1.0, 2.0, 0.0, 0.0]]
    # -v + round(v) within, -Qn or Qp outside, times 1/sqrt(n Qp).
    expected = (1 * (1 - 0.6) + 2 * (-1 + 1.2) + 3 * 3 + 4 * -4) / math.sqrt(4 * 3)
    # The argument is log2 of the step.
    assert float(step.grad) == pytest.approx(expected * 0.5 * math.log(2))


@given(SEEDS, BITS, st.floats(0.01, 1.0), st.booleans())
def test_lsq_codes_are_nearest_and_saturate(seed: int, bits: int, step: float, power_of_two: bool) -> None:
    weight = weights(seed)
    op = LearnedStepWeight(bits, power_of_two)
    codes, scale = op.codes(weight, torch.tensor([step]).log2())
    if power_of_two:
        assert math.log2(float(scale)).is_integer()
        assert 2**-0.5001 <= float(scale) / step <= 2**0.5001
    low, high = op.limits
    assert torch.equal(codes, torch.round(weight / scale).clamp(low, high))


@given(SEEDS, BITS)
def test_dorefa_is_the_formula(seed: int, bits: int) -> None:
    weight = weights(seed)
    levels = 2**bits - 1
    unit = torch.tanh(weight) / (2 * torch.tanh(weight).abs().max()) + 0.5
    expected = 2 * torch.round(unit * levels) / levels - 1
    assert torch.allclose(TanhWeight(bits).evaluate(weight), expected, atol=1e-6)


def test_dorefa_gradient_is_that_of_the_tanh() -> None:
    weight = torch.tensor([[0.5, -1.0, 0.2]])
    found = gradient(TanhWeight(4), weight)
    largest = math.tanh(1.0)
    for i, value in ((0, 0.5), (2, 0.2)):
        assert float(found[0, i]) == pytest.approx((1 - math.tanh(value) ** 2) / largest, rel=1e-5)


def test_dorefa_of_one_bit_is_the_sign_times_the_mean() -> None:
    assert TanhWeight(1).evaluate(torch.tensor([[1.0, -2.0, 3.0]])).tolist() == [[2.0, -2.0, 2.0]]


@given(SEEDS, st.integers(2, 5), st.floats(1e-3, 1e3))
def test_log_weights_are_the_nearest_powers_in_a_window(seed: int, bits: int, spread: float) -> None:
    weight = weights(seed, spread)
    weight[0, 0, 0, 0] = 0.0
    value = LogWeight(bits).evaluate(weight)
    assert value[0, 0, 0, 0] == 0
    is_kept = weight != 0
    exponents = torch.log2(value[is_kept].abs())
    assert torch.equal(exponents, exponents.round())
    highest = torch.log2(weight.abs().max()).round()
    wanted = torch.log2(weight[is_kept].abs()).round().clamp(float(highest) - 2 ** (bits - 1) + 1, float(highest))
    assert torch.equal(exponents, wanted)
    assert torch.equal(torch.sign(value), torch.sign(weight))


@given(SEEDS, st.integers(3, 6), st.floats(1e-3, 1e3))
def test_inq_chooses_between_neighbouring_powers_by_its_rule(seed: int, bits: int, spread: float) -> None:
    weight = weights(seed, spread)
    smallest, largest = incremental_powers(weight, bits)
    assert largest == 2 ** math.floor(math.log2(4 * float(weight.abs().max()) / 3))
    assert largest / smallest == 2 ** (2 ** (bits - 2) - 1)
    levels = [0.0] + [smallest * 2**i for i in range(2 ** (bits - 2))]
    for value, found in zip(
        weight.flatten().tolist(), to_powers(weight, smallest, largest).flatten().tolist(), strict=True
    ):
        rule = 0.0
        for low, high in itertools.pairwise(levels):
            if (low + high) / 2 <= abs(value) < 3 * high / 2:
                rule = high
        rule = largest if abs(value) >= 3 * largest / 2 else rule
        assert abs(found) == rule
        assert found == 0 or (found > 0) == (value > 0)


def test_inq_takes_frozen_weights_and_their_gradient_is_zero() -> None:
    weight = torch.tensor([[0.3, -0.7]], requires_grad=True)
    op = IncrementalWeight(5)
    value = op.evaluate(weight, torch.tensor([[0.25, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert torch.equal(value.detach(), torch.tensor([[0.25, -0.7]]))
    value.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[0.0, 1.0]]
    assert op.trained == (0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformWeight(1), "bits of uniform_weight must be between 2 and 16, not 1"),
        (lambda: FixedPointWeight(4, overflow=1.0), "overflow of fixed_point_weight is from 0 to below 1, not 1.0"),
        (lambda: LogWeight(6), "bits of log_weight must be between 2 and 5, not 6"),
        (lambda: TanhWeight(0), "bits of tanh_weight must be between 1 and 16, not 0"),
        (lambda: IncrementalWeight(2), "bits of incremental_weight must be between 3 and 6, not 2"),
    ],
)
def test_attributes_out_of_range(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ToolError) as error:
        make()
    assert error.value.diagnostics[0].message == message


def test_parameters_of_a_wrong_shape() -> None:
    weight = TensorType((4, 3), Float())
    with pytest.raises(ToolError) as error:
        LearnedStepWeight(4).infer(weight, TensorType((3,), Float()))
    assert error.value.diagnostics[0].message == "learned_step_weight of [4, 3] takes parameters [1 or 4], not [3]"


def test_a_weight_of_zeros_stays_zero() -> None:
    zeros = torch.zeros(2, 3)
    for op in (UniformWeight(4), UniformWeight(4, affine=True), FixedPointWeight(4), TanhWeight(1), LogWeight(4)):
        assert float(op.evaluate(zeros).abs().max()) < 1e-15
