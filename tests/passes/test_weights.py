from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Int
from bitkiln.passes import Calibration
from bitkiln.passes._weights import weight_number

MIN_MAX, MSE = Calibration.MIN_MAX, Calibration.MSE
X = Int(8, False, 7)


def test_each_output_channel_has_its_own_point() -> None:
    weight = torch.tensor([[1.0, -0.5], [0.1, 0.05], [0.0, 0.0], [-8.0, 8.0]])
    assert weight_number(weight, None, X, 8, True, MIN_MAX) == Int(8, True, (6, 10, 0, 3), 0)


def test_one_point_for_the_tensor() -> None:
    weight = torch.tensor([[1.0, -0.5], [0.1, 0.05]])
    assert weight_number(weight, None, X, 8, False, MIN_MAX) == Int(8, True, 6)


def test_convolution_weights_have_points_along_axis_0() -> None:
    weight = torch.ones(3, 2, 5, 5) * torch.tensor([1.0, 2.0, 4.0]).reshape(3, 1, 1, 1)
    assert weight_number(weight, None, X, 4, True, MIN_MAX) == Int(4, True, (2, 1, 0), 0)


def test_mse_saturates_an_outlier_and_min_max_does_not() -> None:
    weight = torch.full((2, 100), 0.17)
    weight[0, 3] = 0.9
    assert weight_number(weight, None, X, 3, True, MIN_MAX).frac == (1, 4)
    assert weight_number(weight, None, X, 3, True, MSE).frac == (3, 4)


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_large_bias_holds_the_point_of_tiny_weights_back(per_channel: bool) -> None:
    weight, bias = torch.full((1, 4), 1e-6), torch.tensor([3.0])
    number = weight_number(weight, bias, X, 8, per_channel, MIN_MAX)
    # |bias| < 4 = 2**2 in accumulator codes of 8 (weight) + 8 (input) + 8 bits: 24 - 2 - 7 places after the point.
    assert number.fracs == (15,)
    assert abs(3.0 * 2 ** (15 + 7)) < 2**24 <= abs(3.0 * 2 ** (15 + 7)) * 2
