"""The table: which ATen overloads are understood, and which must not be taken apart before we see them."""

from __future__ import annotations

from collections.abc import Mapping

from ._aten_elementwise import ELEMENTWISE
from ._aten_index import INDEX
from ._aten_linear import LINEAR
from ._aten_normalise import NORMALISE
from ._aten_pool import POOL
from ._aten_shape import SHAPE
from ._lower import Rule

RULES: Mapping[str, Rule] = {**LINEAR, **POOL, **ELEMENTWISE, **NORMALISE, **SHAPE, **INDEX}

# Overloads that `run_decompositions` leaves whole: each is one operation for us and many nodes of noise otherwise.
KEPT: tuple[str, ...] = (
    *("conv1d.default", "conv2d.default", "conv3d.default", "conv1d.padding", "conv2d.padding", "conv3d.padding"),
    *("conv_transpose1d.default", "conv_transpose2d.input", "linear.default", "matmul.default"),
    *("layer_norm.default", "group_norm.default", "instance_norm.default", "rms_norm.default"),
    *("scaled_dot_product_attention.default", "softmax.int", "log_softmax.int", "pad.default"),
    *("hardswish.default", "hardsigmoid.default", "silu.default", "mish.default", "softplus.default"),
    *("prelu.default", "relu6.default", "hardtanh.default", "gelu.default", "leaky_relu.default"),
    *("elu.default", "selu.default", "celu.default", "glu.default"),
    *("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "max_pool2d.default"),
    *("avg_pool1d.default", "avg_pool2d.default"),
    *("upsample_nearest2d.vec", "upsample_bilinear2d.vec", "upsample_bicubic2d.vec"),
    *("log_sigmoid.default", "col2im.default"),
    *("channel_shuffle.default", "pixel_shuffle.default", "pixel_unshuffle.default"),
    *("embedding.default", "roll.default", "std.dim", "std.correction", "var.dim", "var.correction"),
    *("split.Tensor", "split_with_sizes.default", "transpose.int", "stack.default", "square.default"),
    *("lstm.input", "gru.input"),
)
