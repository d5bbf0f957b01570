"""Image sizes: nearest, bilinear and bicubic interpolation, as PyTorch defines their coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, assert_never

import torch
from torch import Tensor

from bitkiln.ir.numbers import Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require, require_between

Pair = tuple[int, int]


class ResizeMode(Enum):
    """How a pixel between the old ones is made."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


@dataclass(frozen=True)
class Resize(Op):
    """Interpolate x [1, C, H, W] to `size`. Floats; the nearest of codes, too.

    A pixel's place is (i + 1/2) / scale - 1/2, where scale is `scales` if given, else new size over old size; nearest
    takes floor(i / scale). With `align_corners` the corner pixels' centres keep their places (not for nearest).
    """

    name: ClassVar[str] = "resize"
    size: Pair
    mode: ResizeMode
    align_corners: bool = False
    scales: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        require_between("size of resize", self.size, 1)
        require(self.scales is None or min(self.scales) > 0, f"scales of resize must be positive, not {self.scales}")
        require(not (self.align_corners and self.mode is ResizeMode.NEAREST), "resize: nearest has no corners to align")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("resize", args, 1)
        x = args[0]
        is_moved = self.mode is ResizeMode.NEAREST and isinstance(x.number, Int) and x.number.axis is None
        expect(
            len(x.shape) == 4 and (x.is_float or is_moved),
            f"resize takes floats of 4 axes, or codes of one point to the nearest, not {x}",
        )
        return TensorType((*x.shape[:2], *self.size), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        vertical, horizontal = self.scales or (None, None)
        aten, size = torch.ops.aten, list(self.size)
        match self.mode:
            case ResizeMode.NEAREST:
                result: Tensor = aten.upsample_nearest2d.default(args[0], size, vertical, horizontal)
            case ResizeMode.BILINEAR:
                result = aten.upsample_bilinear2d.default(args[0], size, self.align_corners, vertical, horizontal)
            case ResizeMode.BICUBIC:
                result = aten.upsample_bicubic2d.default(args[0], size, self.align_corners, vertical, horizontal)
            case _:
                assert_never(self.mode)
        return result
