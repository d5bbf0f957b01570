"""The operations of the IR, one file a family. Adding one is a class and its line in `OPS`."""

from ._base import Op
from .activation import (
    Abs,
    Elu,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Mish,
    Power,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from .arithmetic import Div, Mul
from .attention import Attention, MatMul
from .decode import Decode, SharedWeights
from .decode_vectors import DecodeVectors
from .elementwise import Add, BatchNorm, Clip, Relu, ScaleShift
from .hashed import HashedWeight
from .linear import Conv2d, Linear
from .move import Expand, Flip, Pad, PadMode, Permute, Roll, Slice, Take
from .normalise import GroupNorm, LayerNorm, LogSoftmax, Softmax
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, SumPool2d
from .quant import Dequantise, Quantise, Requantise
from .reduce import ReduceMax, ReduceMean, ReduceNorm, ReduceSum
from .resize import Resize, ResizeMode
from .scaled import QuantiseScaled, Rounding
from .shape import Concat, Reshape, TopK
from .threshold import MultiThreshold
from .trained import ActivationQuantiser, Staircase, WeightQuantiser
from .trained_activations import (
    BasisActivation,
    ClippedActivation,
    InputScale,
    LearnedStepActivation,
    ResidualSigns,
    SignActivation,
    SignGradient,
    WindowedSigns,
)
from .trained_bases import (
    BasisWeight,
    BinaryScale,
    BinaryWeight,
    LearnedTernaryWeight,
    ResidualWeight,
    ShiftedBasesWeight,
    TernaryWeight,
)
from .trained_uniform import (
    FixedPointWeight,
    IncrementalWeight,
    LearnedStepWeight,
    LogWeight,
    TanhWeight,
    UniformWeight,
)
from .transposed import ConvTranspose2d

OPS: tuple[type[Op], ...] = (
    *(Linear, Conv2d, ConvTranspose2d, MatMul, Attention),
    *(MaxPool2d, AvgPool2d, SumPool2d, AdaptiveAvgPool2d, Resize),
    *(Relu, Clip, Add, Mul, Div, BatchNorm, ScaleShift),
    *(Sigmoid, Tanh, Silu, HardSigmoid, HardSwish, Gelu, LeakyRelu, Elu, Softplus, Mish, Power),
    *(Abs, Exp, Log),
    *(LayerNorm, GroupNorm, Softmax, LogSoftmax),
    *(ReduceMean, ReduceSum, ReduceMax, ReduceNorm),
    *(Reshape, Concat, Permute, Slice, Pad, Expand, Roll, Flip, Take, TopK),
    *(Quantise, Dequantise, Requantise, QuantiseScaled, MultiThreshold),
    *(Decode, DecodeVectors, HashedWeight),
    *(UniformWeight, FixedPointWeight, LearnedStepWeight, TanhWeight, LogWeight, IncrementalWeight),
    *(BinaryWeight, TernaryWeight, LearnedTernaryWeight, BasisWeight, ShiftedBasesWeight, ResidualWeight),
    *(SignActivation, LearnedStepActivation, ClippedActivation, BasisActivation, WindowedSigns, ResidualSigns),
    InputScale,
)

__all__ = [
    "OPS",
    "Abs",
    "ActivationQuantiser",
    "AdaptiveAvgPool2d",
    "Add",
    "Attention",
    "AvgPool2d",
    "BasisActivation",
    "BasisWeight",
    "BatchNorm",
    "BinaryScale",
    "BinaryWeight",
    "Clip",
    "ClippedActivation",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Decode",
    "DecodeVectors",
    "Dequantise",
    "Div",
    "Elu",
    "Exp",
    "Expand",
    "FixedPointWeight",
    "Flip",
    "Gelu",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HashedWeight",
    "IncrementalWeight",
    "InputScale",
    "LayerNorm",
    "LeakyRelu",
    "LearnedStepActivation",
    "LearnedStepWeight",
    "LearnedTernaryWeight",
    "Linear",
    "Log",
    "LogSoftmax",
    "LogWeight",
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
    "ResidualSigns",
    "ResidualWeight",
    "Resize",
    "ResizeMode",
    "Roll",
    "Rounding",
    "ScaleShift",
    "SharedWeights",
    "ShiftedBasesWeight",
    "Sigmoid",
    "SignActivation",
    "SignGradient",
    "Silu",
    "Slice",
    "Softmax",
    "Softplus",
    "Staircase",
    "SumPool2d",
    "Take",
    "Tanh",
    "TanhWeight",
    "TernaryWeight",
    "TopK",
    "UniformWeight",
    "WeightQuantiser",
    "WindowedSigns",
]
