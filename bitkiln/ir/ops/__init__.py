"""The operations of the IR, one file a family. Adding one is a class and its line in `OPS`."""

from ._base import Op
from .elementwise import Add, BatchNorm, Clip, Relu, ScaleShift
from .linear import Conv2d, Linear
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, SumPool2d
from .quant import Dequantise, Quantise, Requantise
from .shape import ArgMax, Concat, Reshape

OPS: tuple[type[Op], ...] = (
    *(Linear, Conv2d),
    *(MaxPool2d, AvgPool2d, SumPool2d, AdaptiveAvgPool2d),
    *(Relu, Clip, Add, BatchNorm, ScaleShift),
    *(Reshape, Concat, ArgMax),
    *(Quantise, Dequantise, Requantise),
)

__all__ = [
    "OPS",
    "AdaptiveAvgPool2d",
    "Add",
    "ArgMax",
    "AvgPool2d",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv2d",
    "Dequantise",
    "Linear",
    "MaxPool2d",
    "Op",
    "Quantise",
    "Relu",
    "Requantise",
    "Reshape",
    "ScaleShift",
    "SumPool2d",
]
