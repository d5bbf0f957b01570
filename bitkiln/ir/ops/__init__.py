"""The operations of the IR, one file a family. Adding one is a class and its line in `OPS`."""

from ._base import Op
from .activation import Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, Mish, Power, Sigmoid, Silu, Softplus, Tanh
from .arithmetic import Div, Mul
from .attention import Attention, MatMul
from .decode import Decode
from .elementwise import Add, BatchNorm, Clip, Relu, ScaleShift
from .linear import Conv2d, Linear
from .move import Expand, Flip, Pad, PadMode, Permute, Roll, Slice, Take
from .normalise import GroupNorm, LayerNorm, LogSoftmax, Softmax
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, SumPool2d
from .quant import Dequantise, Quantise, Requantise
from .reduce import ReduceMax, ReduceMean, ReduceNorm, ReduceSum
from .resize import Resize, ResizeMode
from .scaled import QuantiseScaled, Rounding
from .shape import ArgMax, Concat, Reshape
from .threshold import MultiThreshold
from .transposed import ConvTranspose2d

OPS: tuple[type[Op], ...] = (
    *(Linear, Conv2d, ConvTranspose2d, MatMul, Attention),
    *(MaxPool2d, AvgPool2d, SumPool2d, AdaptiveAvgPool2d, Resize),
    *(Relu, Clip, Add, Mul, Div, BatchNorm, ScaleShift),
    *(Sigmoid, Tanh, Silu, HardSigmoid, HardSwish, Gelu, LeakyRelu, Elu, Softplus, Mish, Power),
    *(LayerNorm, GroupNorm, Softmax, LogSoftmax),
    *(ReduceMean, ReduceSum, ReduceMax, ReduceNorm),
    *(Reshape, Concat, Permute, Slice, Pad, Expand, Roll, Flip, Take, ArgMax),
    *(Quantise, Dequantise, Requantise, QuantiseScaled, MultiThreshold, Decode),
)

__all__ = [
    "OPS",
    "AdaptiveAvgPool2d",
    "Add",
    "ArgMax",
    "Attention",
    "AvgPool2d",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Decode",
    "Dequantise",
    "Div",
    "Elu",
    "Expand",
    "Flip",
    "Gelu",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "LogSoftmax",
    "MatMul",
    "MaxPool2d",
    "Mish",
    "Mul",
    "MultiThreshold",
    "Op",
    "Pad",
    "PadMode",
    "Permute",
    "Power",
    "Quantise",
    "QuantiseScaled",
    "ReduceMax",
    "ReduceMean",
    "ReduceNorm",
    "ReduceSum",
    "Relu",
    "Requantise",
    "Reshape",
    "Resize",
    "ResizeMode",
    "Roll",
    "Rounding",
    "ScaleShift",
    "Sigmoid",
    "Silu",
    "Slice",
    "Softmax",
    "Softplus",
    "SumPool2d",
    "Take",
    "Tanh",
]
