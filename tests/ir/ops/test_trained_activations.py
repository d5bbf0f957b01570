from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import Float, TensorType, ToolError
from bitkiln.ir.ops import (
    ActivationQuantiser,
    BasisActivation,
    ClippedActivation,
    InputScale,
    LearnedStepActivation,
    ResidualSigns,
    SignActivation,
    SignGradient,
    WindowedSigns,
)
from bitkiln.ir.ops.trained_bases import sign_table

SEEDS = st.integers(0, 2**31)


def values(seed: int, count: int = 200) -> Tensor:
    return torch.randn((1, count), generator=torch.Generator().manual_seed(seed)) * 2


def gradients(op: ActivationQuantiser, x: Tensor, *parameters: Tensor) -> list[list[float]]:
    leaves = [tensor.clone().requires_grad_() for tensor in (x, *parameters)]
    op.evaluate(*leaves).sum().backward()
    return [leaf.grad.flatten().tolist() for leaf in leaves if leaf.grad is not None]


def test_signs_and_their_gradients() -> None:
    x = torch.tensor([[-1.5, -0.5, -0.0, 0.25, 1.0, 2.0]])
    assert SignActivation().evaluate(x).tolist() == [[-1, -1, 1, 1, 1, 1]]
    assert SignActivation(threshold=0.5).evaluate(x).tolist() == [[-1, -1, -1, -1, 1, 1]]
    assert gradients(SignActivation(), x) == [[0, 1, 1, 1, 1, 0]]
    # Bi-Real Net: 2 + 2x below 0, 2 - 2x above, 0 beyond 1.
    assert gradients(SignActivation(SignGradient.POLYNOMIAL), x) == [[0, 1, 2, 1.5, 0, 0]]


@given(SEEDS, st.integers(2, 8), st.floats(0.01, 1.0), st.booleans(), st.booleans())
def test_lsq_is_rounding_to_steps(seed: int, bits: int, step: float, signed: bool, power_of_two: bool) -> None:
    x = values(seed)
    op = LearnedStepActivation(bits, signed, power_of_two)
    log_step = torch.tensor([step]).log2()
    stairs = op.staircase(log_step)
    if power_of_two:
        assert math.log2(stairs.scale).is_integer()
    low, high = op.limits
    assert stairs.code_range == (low, high)
    codes = torch.floor(x.double() / stairs.scale + 0.5).clamp(low, high)
    is_clear = ((x.double() / stairs.scale + 0.5) % 1 - 0.5).abs() < 0.499
    assert torch.equal((op.evaluate(x, log_step).double() / stairs.scale).round()[is_clear], codes[is_clear])


def test_lsq_gradients_count_the_elements_of_one_sample() -> None:
    x = torch.tensor([[0.3, -0.6, 9.0]])
    found = gradients(LearnedStepActivation(2, signed=False), x, torch.tensor([-1.0]))
    assert found[0] == [1, 0, 0]
    assert found[1] == [pytest.approx((0.4 + 0 + 3) / math.sqrt(3 * 3) * 0.5 * math.log(2))]


@given(SEEDS, st.integers(1, 8))
def test_dorefa_is_rounding_between_0_and_1(seed: int, bits: int) -> None:
    x, highest = values(seed), 2**bits - 1
    found = ClippedActivation(bits).evaluate(x) * highest
    exact = x.clamp(0, 1).double() * highest
    assert bool(((found - exact).abs() <= 0.5 + 1e-4).all())
    assert torch.equal(found.round(), found) or torch.allclose(found, found.round(), atol=1e-4)


@given(SEEDS, st.integers(1, 4))
def test_lq_takes_the_nearest_level(seed: int, bases: int) -> None:
    x = values(seed)
    basis = torch.rand(bases, generator=torch.Generator().manual_seed(seed)) + 0.05
    op = BasisActivation(bases)
    found = op.evaluate(x, basis)
    levels = op._levels(basis)[0] * op.staircase(basis).scale
    assert torch.allclose(levels, (sign_table(bases, basis) @ basis).sort().values, atol=bases * 2**-7)
    nearest = (x[..., None] - levels).abs().amin(-1)
    assert torch.allclose((x - found).abs(), nearest, atol=1e-5)


def test_lq_gradients() -> None:
    found = gradients(BasisActivation(2), torch.tensor([[0.4, -0.9, 5.0]]), torch.tensor([1.0, 0.5]))
    assert found == [[1, 1, 0], [1 - 1 + 1, -1 + 1 + 1]]


@given(SEEDS, st.integers(1, 4))
def test_abc_is_the_sum_of_its_windows(seed: int, bases: int) -> None:
    x = values(seed)
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randn(bases, generator=generator)
    scales = (torch.randint(1, 16, (bases,), generator=generator)).float() / 16
    expected = sum(b * torch.where(x >= 0.5 - v, 1.0, -1.0) for v, b in zip(shifts, scales, strict=True))
    assert isinstance(expected, Tensor)
    assert torch.allclose(WindowedSigns(bases).evaluate(x, shifts, scales), expected)


def test_abc_gradients() -> None:
    found = gradients(
        WindowedSigns(2), torch.tensor([[0.2, -0.3, 3.0]]), torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.5])
    )
    assert found[0] == [1.5, 0.5, 0]
    assert found[1] == [1, 0.5 + 0.5]
    assert found[2] == [-1 - 1 + 1, 1 - 1 + 1]


@given(SEEDS, st.integers(1, 15), st.integers(1, 15))
def test_horq_binarises_what_is_left(seed: int, first: int, second: int) -> None:
    x = values(seed)
    scales = torch.tensor([first / 16, second / 16])
    large, small = float(scales.max()), float(scales.min())
    sign = torch.where(x >= 0, 1.0, -1.0)
    left = torch.where(x - large * sign >= 0, 1.0, -1.0)
    assert torch.equal(ResidualSigns().evaluate(x, scales), large * sign + small * left)


def test_horq_gradients() -> None:
    found = gradients(ResidualSigns(), torch.tensor([[0.2, -0.3, 3.0]]), torch.tensor([1.0, 0.5]))
    assert found == [[1, 1, 0], [1 - 1 + 1, -1 + 1 + 1]]


def test_k_is_the_mean_magnitude_below_each_window() -> None:
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    op = InputScale((3, 3), (2, 1), ((1, 1), (1, 1)))
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    expected = F.conv2d(x.abs().mean(1, keepdim=True), kernel, stride=(2, 1), padding=1)
    assert torch.allclose(op.evaluate(x), expected, atol=1e-6)
    assert op.infer(TensorType((1, 3, 5, 6), Float())) == TensorType((1, 1, 3, 6), Float())


@pytest.mark.parametrize(
    ("op", "parameters"),
    [
        (SignActivation(), ()),
        (LearnedStepActivation(3, signed=True), (torch.tensor([-1.7]),)),
        (ClippedActivation(3), ()),
        (BasisActivation(3), (torch.tensor([0.9, 0.4, 0.2]),)),
        (WindowedSigns(3), (torch.tensor([0.9, 0.4, 0.2]), torch.tensor([0.3, 0.4, 0.2]))),
        (ResidualSigns(), (torch.tensor([0.9, 0.4]),)),
    ],
)
def test_a_staircase_is_the_same_in_every_dtype_and_in_training(
    op: ActivationQuantiser, parameters: tuple[Tensor, ...]
) -> None:
    x = values(3)
    found = op.evaluate(x, *parameters)
    assert torch.equal(op.evaluate(x.double(), *(p.double() for p in parameters)).float(), found)
    assert torch.equal(op.evaluate(x.clone().requires_grad_(), *parameters).detach(), found)
    ordered = op.evaluate(x.sort().values, *parameters)
    assert bool((ordered.diff() >= 0).all())


def test_parameters_of_a_wrong_shape() -> None:
    with pytest.raises(ToolError) as error:
        BasisActivation(2).infer(TensorType((1, 4), Float()), TensorType((3,), Float()))
    assert error.value.diagnostics[0].message == "basis_activation takes parameters [2], not [3]"
