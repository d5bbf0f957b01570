"""ONNX operations by hand, in every opset that changed them: equal to ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason='.onnx files need pip install "bitkiln[onnx]"')
pytest.importorskip("onnxruntime", reason="the results are compared with ONNX Runtime")

import onnx

from bitkiln.ir import Location, evaluate
from tests.frontend.onnx_files import Array, assert_equal_to_reference, model, node, op_names, read

IMAGE = (1, 4, 7, 6)
TOKENS = (1, 5, 4)
VECTOR = (1, 6)


def data(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Array:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def number(value: float) -> Array:
    return np.array(value, np.float32)


W = data(6, 4, 3, 3)
DEPTHWISE = data(8, 1, 3, 3)
NORM = {"g": data(4), "b": data(4), "m": data(4), "v": data(4, low=0.5, high=2.0)}
MATRIX = data(6, 3)

# name, nodes, shape of the input, constants, opset, operations of the Graph (None: only the values count)
CASES = [
    ("conv", [node("Conv", "x w b")], IMAGE, {"w": W, "b": data(6)}, 11, ["conv2d"]),
    ("conv attributes", [node("Conv", "x w", strides=[2, 1], dilations=[1, 2], pads=[1, 2, 1, 2])], IMAGE, {"w": W}, 22,
     ["conv2d"]),
    ("conv asymmetric", [node("Conv", "x w", pads=[0, 1, 2, 0], strides=[2, 2])], IMAGE, {"w": W}, 13, ["conv2d"]),
    ("conv same upper", [node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 3])], IMAGE, {"w": W}, 13, ["conv2d"]),
    ("conv same lower", [node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 3])], IMAGE, {"w": W}, 13, ["conv2d"]),
    ("conv valid", [node("Conv", "x w", auto_pad="VALID")], IMAGE, {"w": W}, 13, ["conv2d"]),
    ("conv depthwise", [node("Conv", "x w", group=4, kernel_shape=[3, 3])], IMAGE, {"w": DEPTHWISE}, 13, ["conv2d"]),
    ("conv 1d", [node("Conv", "x w", pads=[1, 0])], (1, 4, 9), {"w": data(6, 4, 3)}, 13, None),
    ("conv bn", [node("Conv", "x w", "c"), node("BatchNormalization", "c g b m v")], IMAGE,
     {"w": data(4, 4, 1, 1), **NORM}, 15, ["conv2d"]),
    ("bn 9", [node("BatchNormalization", "x g b m v", epsilon=0.1)], IMAGE, NORM, 9, ["scale_shift"]),
    ("conv transpose", [node("ConvTranspose", "x w b", strides=[2, 3], pads=[1, 0, 1, 0], output_padding=[1, 0])],
     IMAGE,
     {"w": data(4, 5, 3, 2), "b": data(5)}, 13, ["conv_transpose2d"]),
    ("conv transpose cut", [node("ConvTranspose", "x w", pads=[0, 1, 2, 0], group=2)], IMAGE, {"w": data(4, 3, 3,
     3)}, 13,
     ["conv_transpose2d", "pad"]),
    ("conv transpose to size", [node("ConvTranspose", "x w", strides=[2, 2], output_shape=[14, 12])], IMAGE,
     {"w": data(4, 3, 3, 3)}, 13, None),
    ("conv transpose 1d", [node("ConvTranspose", "x w", strides=[2])], (1, 4, 9), {"w": data(4, 2, 3)}, 13, None),
    ("matmul", [node("MatMul", "x w")], VECTOR, {"w": MATRIX}, 13, ["linear"]),
    ("matmul of tokens", [node("MatMul", "x w")], TOKENS, {"w": data(4, 3)}, 13, ["linear"]),
    ("matmul of two", [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], TOKENS, {}, 13,
     ["permute", "matmul"]),
    ("matmul and bias", [node("MatMul", "x w", "p"), node("Add", "b p")], TOKENS, {"w": data(4, 3), "b": data(3)}, 13,
     ["linear"]),
    ("gemm", [node("Gemm", "x w c")], VECTOR, {"w": MATRIX, "c": data(3)}, 13, ["linear"]),
    ("gemm factors", [node("Gemm", "x w c", alpha=0.5, beta=2.0, transB=1)], VECTOR, {"w": data(3, 6), "c": data(1,
     3)}, 11,
     ["linear"]),
    ("gemm transposed", [node("Gemm", "x w c", transA=1)], (1, 6), {"w": data(1, 3), "c": data(6, 3)}, 9, None),
    ("gemm number", [node("Gemm", "x w c")], VECTOR, {"w": MATRIX, "c": number(0.5)}, 13, ["linear"]),
    ("max pool", [node("MaxPool", "x", kernel_shape=[2, 3], strides=[2, 1])], IMAGE, {}, 8, ["max_pool2d"]),
    ("max pool ceil", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], IMAGE, {}, 12,
     ["max_pool2d"]),
    ("max pool dilated", [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[3, 2])], IMAGE, {}, 12, ["max_pool2d"]),
    ("max pool short", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])], (1, 2, 8, 8), {},
     12, ["max_pool2d"]),
    ("max pool before", [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0])], (1, 2, 8,
     8), {},
     12, ["pad", "max_pool2d"]),
    ("max pool 1d", [node("MaxPool", "x", kernel_shape=[3], strides=[2])], (1, 3, 9), {}, 12, None),
    ("average pool", [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], IMAGE, {}, 7, ["avg_pool2d"]),
    ("average with border", [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
     IMAGE, {}, 11, ["avg_pool2d"]),
    ("average uneven", [node("AveragePool", "x", kernel_shape=[3, 3], pads=[2, 0, 0, 1])], IMAGE, {}, 19,
     ["pad", "avg_pool2d", "mul"]),
    ("average uneven with border",
     [node("AveragePool", "x", kernel_shape=[3, 3], pads=[2, 0, 0, 1], count_include_pad=1)], IMAGE, {}, 19, None),
    ("average same", [node("AveragePool", "x", kernel_shape=[2, 2], auto_pad="SAME_UPPER")], IMAGE, {}, 11, None),
    ("global average", [node("GlobalAveragePool", "x")], IMAGE, {}, 11, ["avg_pool2d"]),
    ("global max", [node("GlobalMaxPool", "x")], IMAGE, {}, 11, ["max_pool2d"]),
    ("relu", [node("Relu", "x")], IMAGE, {}, 14, ["relu"]),
    ("clip 6", [node("Clip", "x", min=-0.5, max=0.25)], IMAGE, {}, 6 + 3, ["clip"]),
    ("clip 11", [node("Clip", "x lo hi")], IMAGE, {"lo": number(0), "hi": number(0.5)}, 11, ["clip"]),
    ("clip above", [node("Clip", "x _ hi")], IMAGE, {"hi": number(0.5)}, 13, ["clip"]),
    ("clip nothing", [node("Relu", "x", "r"), node("Clip", "r")], IMAGE, {}, 13, ["relu"]),
    ("sigmoid tanh", [node("Sigmoid", "x", "s"), node("Tanh", "s")], VECTOR, {}, 13, ["sigmoid", "tanh"]),
    ("hard swish", [node("HardSwish", "x")], VECTOR, {}, 14, ["hard_swish"]),
    ("hard sigmoid", [node("HardSigmoid", "x", alpha=1 / 6, beta=0.5)], VECTOR, {}, 6 + 3, ["hard_sigmoid"]),
    ("hard sigmoid else", [node("HardSigmoid", "x")], VECTOR, {}, 13, ["mul", "add", "clip"]),
    ("gelu", [node("Gelu", "x")], VECTOR, {}, 20, ["gelu"]),
    ("gelu tanh", [node("Gelu", "x", approximate="tanh")], VECTOR, {}, 20, ["gelu"]),
    ("gelu of old", [node("Div", "x r", "d"), node("Erf", "d", "e"), node("Add", "e o", "a"), node("Mul", "x a", "m"),
                     node("Mul", "m h")], VECTOR, {"r": number(2**0.5), "o": number(1), "h": number(0.5)}, 13,
     ["gelu"]),
    ("gelu otherwise", [node("Mul", "x r", "d"), node("Erf", "d", "e"), node("Add", "o e", "a"), node("Mul", "h x",
     "m"),
                        node("Mul", "a m")], VECTOR, {"r": number(0.5**0.5), "o": number(1), "h": number(0.5)}, 13,
     ["gelu"]),
    ("elu", [node("Elu", "x", alpha=0.5)], VECTOR, {}, 6 + 3, ["elu"]),
    ("selu", [node("Selu", "x")], VECTOR, {}, 22, ["elu", "mul"]),
    ("celu", [node("Celu", "x", alpha=0.5)], VECTOR, {}, 12, ["mul", "elu", "mul"]),
    ("leaky relu", [node("LeakyRelu", "x", alpha=0.1)], VECTOR, {}, 16, ["leaky_relu"]),
    ("prelu", [node("PRelu", "x s")], IMAGE, {"s": data(4, 1, 1)}, 16, None),
    ("prelu everywhere", [node("PRelu", "x s")], IMAGE, {"s": data(7, 6)}, 16, None),
    ("softplus mish", [node("Softplus", "x", "s"), node("Mish", "s")], VECTOR, {}, 18, ["softplus", "mish"]),
    ("silu", [node("Sigmoid", "x", "s"), node("Mul", "s x")], VECTOR, {}, 13, ["silu"]),
    ("powers", [node("Abs", "c", "a"), node("Pow", "a e", "p"), node("Add", "x p", "s"), node("Pow", "s e")], VECTOR,
     {"c": data(6), "e": number(2)}, 13, ["add", "power"]),
    ("roots", [node("Mul", "x x", "s"), node("Add", "s o", "a"), node("Sqrt", "a", "q"), node("Reciprocal", "q", "r"),
               node("Neg", "r")], VECTOR, {"o": number(1)}, 13, None),
    ("arithmetic", [node("Sub", "c x", "s"), node("Div", "s d", "q"), node("Sum", "q x c")], VECTOR,
     {"c": data(6), "d": data(6, low=1, high=2)}, 13, None),
    ("min max", [node("Min", "x h", "m"), node("Max", "l m")], VECTOR, {"h": number(0.5), "l": number(-0.5)}, 13,
     ["clip"]),
    ("min max of tensors", [node("Min", "x h c", "m"), node("Max", "l m x")], VECTOR,
     {"h": number(0.5), "l": number(-0.5), "c": data(6)}, 13, None),
    ("mean softsign", [node("Mean", "x c x", "m"), node("Softsign", "m")], VECTOR, {"c": data(6)}, 13, None),
    ("exp log", [node("Exp", "x", "e"), node("Add", "e o", "a"), node("Log", "a", "l"), node("Abs", "l")], VECTOR,
     {"o": number(1)}, 13, ["exp", "add", "log", "abs"]),
    ("reduce l1", [node("ReduceL1", "x", axes=[1], keepdims=0)], TOKENS, {}, 13, ["abs", "reduce_sum"]),
    ("conv 3d", [node("Conv", "x w b", strides=[2, 1, 1], pads=[1, 0, 1, 0, 0, 1], group=2)], (1, 4, 4, 5, 5),
     {"w": data(6, 2, 2, 3, 3), "b": data(6)}, 13, None),
    ("matmul vector", [node("MatMul", "x v")], TOKENS, {"v": data(4)}, 13, None),
    ("where", [node("Where", "m x z")], VECTOR, {"m": np.array([1, 0, 1, 1, 0, 1], bool), "z": number(-3)}, 16, None),
    ("dropout", [node("Relu", "x", "r"), node("Dropout", "r", "y mask", ratio=0.5)], VECTOR, {}, 7, ["relu"]),
    ("dropout 12", [node("Relu", "x", "r"), node("Dropout", "r p t")], VECTOR,
     {"p": number(0.5), "t": np.array(False)}, 12, ["relu"]),
    ("cast", [node("Cast", "x", to=1)], VECTOR, {}, 13, []),
    ("reshape 0 and -1", [node("Reshape", "x s")], IMAGE, {"s": ints(0, 2, -1, 6)}, 13, ["reshape"]),
    ("flatten", [node("Flatten", "x", axis=-2)], IMAGE, {}, 13, ["reshape"]),
    ("flatten all", [node("Flatten", "x", axis=0)], IMAGE, {}, 13, ["reshape"]),
    ("squeeze 11", [node("Unsqueeze", "x", "u", axes=[1, -1]), node("Squeeze", "u", axes=[1])], VECTOR, {}, 11,
     ["reshape"]),
    ("squeeze 13", [node("Unsqueeze", "x a", "u"), node("Squeeze", "u b")], VECTOR, {"a": ints(1, -1),
     "b": ints(1)}, 13,
     ["reshape"]),
    ("transpose", [node("Transpose", "x", perm=[0, 2, 3, 1])], IMAGE, {}, 13, ["permute"]),
    ("concat", [node("Relu", "x", "r"), node("Concat", "x r x", axis=-2)], IMAGE, {}, 13, ["relu", "concat"]),
    ("slice 1", [node("Slice", "x", starts=[1, 0], ends=[3, 2147483647], axes=[1, 3])], IMAGE, {}, 9, ["slice"]),
    ("slice 10", [node("Slice", "x s e a t")], IMAGE,
     {"s": ints(-3, 0), "e": ints(9, 5), "a": ints(2, -1), "t": ints(1, 2)}, 13, ["slice", "slice"]),
    ("slice backwards", [node("Slice", "x s e a t")], IMAGE,
     {"s": ints(-1), "e": ints(-(2**63)), "a": ints(3), "t": ints(-2)}, 13, ["flip", "slice"]),
    ("split 2", [node("Split", "x", "a b", axis=1, split=[1, 3]), node("Concat", "b a", axis=1)], IMAGE, {}, 9, None),
    ("split 13", [node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)], IMAGE, {"s": ints(3, 1)}, 13,
     None),
    ("split 18", [node("Split", "x", "a b c", axis=2, num_outputs=3), node("Concat", "c a b", axis=2)], IMAGE, {}, 18,
     None),
    ("expand", [node("Relu", "x", "r"), node("Expand", "r s")], (1, 4, 1, 6), {"s": ints(5, 1)}, 13, ["relu",
     "expand"]),
    ("tile", [node("Tile", "x s")], IMAGE, {"s": ints(1, 2, 1, 3)}, 13, ["concat", "concat"]),
    ("pad 2", [node("Pad", "x", pads=[0, 0, 1, 2, 0, 0, 0, 3], value=0.5)], IMAGE, {}, 9, ["pad"]),
    ("pad 11", [node("Pad", "x p v", mode="constant")], IMAGE, {"p": ints(0, 0, 1, -2, 0, 1, 0, 3),
     "v": number(-1)}, 11,
     ["pad"]),
    ("pad 18", [node("Pad", "x p _ a", mode="reflect")], IMAGE, {"p": ints(1, 2, 3, 0), "a": ints(-1, 2)}, 18, ["pad"]),
    ("pad edge", [node("Pad", "x p", mode="edge")], IMAGE, {"p": ints(0, 0, 0, 2, 0, 0, 3, 0)}, 13, ["pad"]),
    ("pad wrap", [node("Pad", "x p", mode="wrap")], IMAGE, {"p": ints(0, 0, 0, 2, 0, 0, 3, 0)}, 19, ["pad"]),
    ("gather one", [node("Gather", "x i", axis=1)], IMAGE, {"i": np.array(-2)}, 13, ["slice", "reshape"]),
    ("gather list", [node("Gather", "x i", axis=2)], IMAGE, {"i": ints(3, 0, -1)}, 13, ["take"]),
    ("gather table", [node("Gather", "x i", axis=2)], IMAGE, {"i": ints(3, 0, -1, 1).reshape(2, 2)}, 13, None),
    ("shape of a batch", [node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Unsqueeze", "n z", "u"),
                          node("Concat", "u m", "t", axis=0), node("Reshape", "x t")], IMAGE,
     {"i": np.array(0), "z": ints(0), "m": ints(-1)}, 13, ["reshape"]),
    ("computed shape", [node("Shape", "x", "s", start=2), node("Div", "s t", "h"), node("Cast", "h", "f", to=1),
                        node("Floor", "f", "g"), node("Cast", "g", "k", to=7), node("Concat", "b k", "r", axis=0),
                        node("ConstantOfShape", "r", "c"), node("Slice", "x z k a", "q"), node("Add", "q c")], IMAGE,
     {"t": ints(2, 2), "b": ints(1, 4), "z": ints(0, 0), "a": ints(2, 3)}, 15, None),
    ("range", [node("Range", "a b c", "r"), node("Add", "x r")], VECTOR,
     {"a": number(0), "b": number(3), "c": number(0.5)}, 13, ["add"]),
    ("depth to space", [node("DepthToSpace", "x", blocksize=2)], IMAGE, {}, 13, None),
    ("pixel shuffle", [node("DepthToSpace", "x", blocksize=2, mode="CRD")], IMAGE, {}, 13, None),
    ("space to depth", [node("SpaceToDepth", "x", blocksize=2)], (1, 2, 4, 6), {}, 13, None),
    ("instance norm", [node("InstanceNormalization", "x g b", epsilon=0.01)], IMAGE, {"g": data(4), "b": data(4)},
     6 + 3,
     ["group_norm"]),
    ("group norm 21", [node("GroupNormalization", "x g b", num_groups=2)], IMAGE, {"g": data(4), "b": data(4)}, 21,
     ["group_norm"]),
    ("layer norm", [node("LayerNormalization", "x g b", axis=-1, epsilon=0.01)], TOKENS, {"g": data(4),
     "b": data(4)}, 17,
     ["layer_norm"]),
    ("layer norm of two axes", [node("LayerNormalization", "x g", axis=1)], TOKENS, {"g": data(5, 4)}, 17,
     ["layer_norm"]),
    ("lrn", [node("LRN", "x", size=3, alpha=0.1, beta=0.5, bias=2.0)], IMAGE, {}, 13, None),
    ("l2 norm", [node("LpNormalization", "x", axis=1)], IMAGE, {}, 22, None),
    ("softmax 13", [node("Softmax", "x", axis=1)], TOKENS, {}, 13, ["softmax"]),
    ("softmax 11", [node("Softmax", "x", axis=1)], TOKENS, {}, 11, ["reshape", "softmax", "reshape"]),
    ("log softmax", [node("LogSoftmax", "x")], VECTOR, {}, 13, ["log_softmax"]),
    ("reduce mean 13", [node("ReduceMean", "x", axes=[2, 3], keepdims=0)], IMAGE, {}, 13, ["avg_pool2d", "reshape"]),
    ("reduce mean 18", [node("ReduceMean", "x a")], IMAGE, {"a": ints(-1)}, 18, ["reduce_mean"]),
    ("reduce nothing", [node("Relu", "x", "r"), node("ReduceMean", "r", noop_with_empty_axes=1)], IMAGE, {}, 18,
     ["relu"]),
    ("reduce sum 11", [node("ReduceSum", "x", axes=[1])], TOKENS, {}, 11, ["reduce_sum"]),
    ("reduce sum 13", [node("ReduceSum", "x a", keepdims=0)], TOKENS, {"a": ints(1)}, 13, ["reduce_sum"]),
    ("reduce max", [node("ReduceMax", "x a")], TOKENS, {"a": ints(1)}, 18, ["reduce_max"]),
    ("reduce min", [node("ReduceMin", "x", axes=[1])], TOKENS, {}, 13, ["mul", "reduce_max", "mul"]),
    ("reduce l2", [node("ReduceL2", "x", axes=[1])], TOKENS, {}, 13, ["reduce_norm"]),
    ("reduce squares", [node("ReduceSumSquare", "x", axes=[1])], TOKENS, {}, 13, ["power", "reduce_sum"]),
    ("argmax", [node("ArgMax", "x", axis=-1)], VECTOR, {}, 13, ["top_k", "reshape"]),
    ("top one", [node("TopK", "x k", "v y")], VECTOR, {"k": ints(1)}, 11, ["top_k", "reshape"]),
    ("top three", [node("TopK", "x k", "v y")], VECTOR, {"k": ints(3)}, 11, ["top_k"]),
    ("upsample", [node("Upsample", "x s", mode="nearest")], IMAGE, {"s": np.array([1, 1, 2, 3], np.float32)}, 9,
     ["resize"]),
    ("resize nearest", [node("Resize", "x r s", nearest_mode="floor", coordinate_transformation_mode="asymmetric")],
     IMAGE, {"r": data(8), "s": np.array([1, 1, 2, 2], np.float32)}, 11, ["resize"]),
    ("resize half pixel", [node("Resize", "x _ s")], IMAGE, {"s": np.array([1, 1, 3, 2], np.float32)}, 13, ["resize"]),
    ("resize other places", [node("Resize", "x _ s", nearest_mode="ceil")], IMAGE,
     {"s": np.array([1, 1, 1.5, 0.7], np.float32)}, 13, ["take", "take"]),
    ("resize linear", [node("Resize", "x _ _ z", mode="linear")], IMAGE, {"z": ints(1, 4, 10, 5)}, 13, ["resize"]),
    ("resize by factors", [node("Resize", "x _ s", mode="linear")], IMAGE, {"s": np.array([1, 1, 1.6, 2],
     np.float32)}, 13,
     ["resize"]),
    ("resize corners", [node("Resize", "x _ _ z", mode="linear", coordinate_transformation_mode="align_corners")],
     IMAGE,
     {"z": ints(1, 4, 10, 5)}, 13, ["resize"]),
    ("resize cubic", [node("Resize", "x _ _ z", mode="cubic")], IMAGE, {"z": ints(1, 4, 10, 9)}, 13, ["resize"]),
    ("resize axes", [node("Resize", "x _ s", axes=[3, 2])], IMAGE, {"s": np.array([2, 3], np.float32)}, 18, ["resize"]),
    ("constants", [node("Constant", "", "c", value_floats=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), node("Add", "x c")], VECTOR,
     {}, 13, ["add"]),
    ("identity", [node("Identity", "x", "i"), node("Identity", "c", "d"), node("Add", "i d")], VECTOR,
     {"c": data(6)}, 13,
     ["add"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "shape", "constants", "opset", "expected"),
    [case[1:] for case in CASES],
    ids=[str(case[0]) for case in CASES],
)
def test_equals_reference(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    constants: dict[str, Array],
    opset: int,
    expected: list[str] | None,
    tmp_path: Path,
) -> None:
    graph = assert_equal_to_reference(model(nodes, shape, constants, opset), tmp_path)
    if expected is not None:
        assert op_names(graph) == expected


def test_an_open_batch_is_one(tmp_path: Path) -> None:
    graph = read(model([node("Reshape", "x s")], ("N", 4, 3), {"s": ints(0, -1)}), tmp_path)
    assert graph.inputs[0].type.shape == (1, 4, 3)
    x = torch.randn(5, 4, 3)
    assert torch.equal(evaluate(graph, x)[0], x.reshape(5, 12))


def test_values_are_called_after_their_nodes(tmp_path: Path) -> None:
    nodes = [node("Conv", "x features/w", "c"), node("Sub", "c k", "d"), node("HardSigmoid", "d")]
    graph = read(model(nodes, IMAGE, {"features/w": W, "k": data(6, 7, 1)[:, :5]}), tmp_path)
    assert [value.name for value in graph.nodes] == [
        "Conv_c", "Sub_d", "HardSigmoid_y.mul", "HardSigmoid_y.add", "HardSigmoid_y.clip"
    ]  # fmt: skip
    assert graph.consts[0].name == "features_w"
    assert graph.nodes[0].loc == Location("net.onnx", 0, "Conv_c")


def test_weights_are_not_copied(tmp_path: Path) -> None:
    """Two layers that share a weight share a constant."""
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a w")]
    graph = read(model(nodes, VECTOR, {"w": data(6, 6)}), tmp_path)
    assert len(graph.consts) == 1
