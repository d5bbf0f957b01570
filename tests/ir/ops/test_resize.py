from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Resize, ResizeMode

SIZE = st.integers(1, 6)


def bilinear(x: torch.Tensor, size: tuple[int, int], scales: tuple[float, float], corners: bool) -> torch.Tensor:
    """The definition, pixel by pixel."""

    def weights(old: int, new: int, scale: float) -> torch.Tensor:
        matrix = torch.zeros(new, old, dtype=x.dtype)
        for i in range(new):
            place = i * (old - 1) / (new - 1) if corners and new > 1 else max((i + 0.5) / scale - 0.5, 0)
            place = 0.0 if corners and new == 1 else place
            low = min(int(place), old - 1)
            part = min(max(place - low, 0), 1)
            matrix[i, low] += 1 - part
            matrix[i, min(low + 1, old - 1)] += part
        return matrix

    rows, columns = weights(x.shape[2], size[0], scales[0]), weights(x.shape[3], size[1], scales[1])
    return torch.einsum("yh,bchw,xw->bcyx", rows, x, columns)


@given(SIZE, SIZE, SIZE, SIZE, st.booleans())
def test_bilinear_follows_the_definition(height: int, width: int, new_h: int, new_w: int, corners: bool) -> None:
    x = torch.randn(2, 2, height, width, dtype=torch.float64)
    expected = bilinear(x, (new_h, new_w), (new_h / height, new_w / width), corners)
    op = Resize((new_h, new_w), ResizeMode.BILINEAR, corners)
    assert op.infer(TensorType((1, 2, height, width), Float())).shape == (1, 2, new_h, new_w)
    torch.testing.assert_close(op.evaluate(x), expected)


@given(SIZE, SIZE, SIZE)
def test_nearest_follows_the_definition(height: int, width: int, new: int) -> None:
    x = torch.randn(2, 2, height, width)
    rows = [math.floor(i * height / new) for i in range(new)]
    columns = [math.floor(i * width / new) for i in range(new)]
    assert torch.equal(Resize((new, new), ResizeMode.NEAREST).evaluate(x), x[:, :, rows][:, :, :, columns])


@pytest.mark.parametrize("corners", [False, True])
def test_bicubic_is_what_torch_computes(corners: bool) -> None:
    x = torch.randn(2, 2, 5, 4)
    expected = F.interpolate(x, (7, 9), mode="bicubic", align_corners=corners)
    assert torch.equal(Resize((7, 9), ResizeMode.BICUBIC, corners).evaluate(x), expected)


def test_scales_that_differ_from_the_sizes() -> None:
    """5 * 1.5 is 7.5, cut to 7 pixels: the places follow 1.5, not 7 / 5."""
    x = torch.randn(1, 1, 5, 5)
    found = Resize((7, 7), ResizeMode.BILINEAR, scales=(1.5, 1.5)).evaluate(x)
    torch.testing.assert_close(found, bilinear(x, (7, 7), (1.5, 1.5), False))
    assert torch.equal(found, F.interpolate(x, scale_factor=1.5, mode="bilinear"))


def test_refusals() -> None:
    wanted = "resize takes floats of 4 axes, or codes of one point to the nearest, not"
    with pytest.raises(ToolError, match=rf"{wanted} f32\[1,2\]"):
        Resize((2, 2), ResizeMode.NEAREST).infer(TensorType((1, 2), Float()))
    with pytest.raises(ToolError, match=rf"{wanted} i8\.f0"):
        Resize((2, 2), ResizeMode.BILINEAR).infer(TensorType((1, 2, 2, 2), Int(8)))
    codes = TensorType((1, 2, 2, 2), Int(8))
    assert Resize((4, 4), ResizeMode.NEAREST).infer(codes) == TensorType((1, 2, 4, 4), Int(8))
    with pytest.raises(ToolError, match="size of resize must be between 1 and 65535, not 0"):
        Resize((0, 2), ResizeMode.NEAREST)
    with pytest.raises(ToolError, match="scales of resize must be positive"):
        Resize((2, 2), ResizeMode.NEAREST, scales=(0.0, 1.0))
    with pytest.raises(ToolError, match="nearest has no corners to align"):
        Resize((2, 2), ResizeMode.NEAREST, True)
