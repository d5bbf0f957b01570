"""QuantizeLinear graphs and pt2e's programs: the same codes as their own runtimes, as exact integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("onnx", reason='.onnx files need pip install "bitkiln[onnx]"')

import onnx

from bitkiln.frontend.pt2_import import import_pt2
from bitkiln.frontend.torch_import import import_program
from bitkiln.ir import Graph, Int, ToolError, evaluate
from bitkiln.ir.ops import QuantiseScaled
from tests.frontend.onnx_files import Array, assert_equal_to_reference, is_integer, model, node, op_names, read

IMAGE = (1, 3, 8, 8)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def pair(x: str, name: str, scale: str, zero: str) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear of x."""
    return [
        node("QuantizeLinear", f"{x} {scale} {zero}", f"{name}_q"),
        node("DequantizeLinear", f"{name}_q {scale} {zero}", name),
    ]


def network(bias: bool = True) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """A residual block: asymmetric activations, symmetric weights with one scale a channel."""
    rng = np.random.default_rng(5)
    constants: dict[str, Array] = {
        "sx": number(0.03), "zx": np.array(131, np.uint8), "sa": number(0.02), "za": np.array(0, np.uint8),
        "sb": number(0.035), "zb": np.array(-9, np.int8), "sy": number(0.05), "zy": np.array(7, np.int8),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "sw": rng.uniform(0.001, 0.004, 4).astype(np.float32),
        "zw": np.zeros(4, np.int8), "b": rng.normal(0, 0.3, 4).astype(np.float32),
        "v": rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8), "sv": number(0.002), "zv": np.array(0, np.int8),
        "f": rng.integers(-127, 128, (4, 5)).astype(np.int8), "sf": number(0.003),
    }  # fmt: skip
    nodes = [
        *pair("x", "dx", "sx", "zx"),
        node("DequantizeLinear", "w sw zw", "dw", axis=0),
        node("Conv", "dx dw b" if bias else "dx dw", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        *pair("r", "da", "sa", "za"),
        node("DequantizeLinear", "v sv zv", "dv"),
        node("Conv", "da dv", "d", pads=[1, 1, 1, 1]),
        *pair("d", "db", "sb", "zb"),
        node("Add", "da db", "s"),
        *pair("s", "ds", "sy", "zy"),
        node("GlobalAveragePool", "ds", "g"),
        *pair("g", "dg", "sy", "zy"),
        node("Flatten", "dg", "flat"),
        node("DequantizeLinear", "f sf zv", "df"),
        node("MatMul", "flat df", "y"),
    ]
    return nodes, constants


@pytest.mark.parametrize("opset", [10, 13, 19, 21])
def test_a_residual_block_becomes_integers(opset: int, tmp_path: Path) -> None:
    nodes, constants = network()
    if opset < 13:  # per-channel scales came with opset 13
        constants |= {"sw": number(0.002), "zw": np.array(0, np.int8)}
        nodes[2] = node("DequantizeLinear", "w sw zw", "dw")
    pytest.importorskip("onnxruntime", reason="the results are compared with ONNX Runtime")
    graph = assert_equal_to_reference(model(nodes, IMAGE, constants, opset), tmp_path)
    assert is_integer(graph)
    assert op_names(graph) == [
        *(
            "quantise_scaled",
            "conv2d",
            "multi_threshold",
            "conv2d",
            "multi_threshold",
            "requantise",
            "requantise",
            "add",
        ),
        *("multi_threshold", "sum_pool2d", "multi_threshold", "reshape", "linear", "dequantise", "mul"),
    ]


def test_codes_leave_the_zero_point_out(tmp_path: Path) -> None:
    """uint8 with the zero point 131 stands for -131 ... 124, which a signed format of 9 bits holds."""
    nodes, constants = network()
    graph = read(model(nodes, IMAGE, constants), tmp_path)
    assert graph.types["QuantizeLinear_dx_q"].number == Int(9, True, 6)
    (step,) = [step for step in graph.nodes if step.op.name == "quantise_scaled"]
    assert isinstance(step.op, QuantiseScaled)
    assert (step.op.lo, step.op.hi) == (-131, 124)


def test_fewer_bits_by_clip(tmp_path: Path) -> None:
    """Four bits as Brevitas writes them: int8 and uint8, clipped."""
    nodes, constants = network(bias=False)
    constants |= {
        "l4": np.array(-7, np.int8), "h4": np.array(7, np.int8), "l0": np.array(0, np.uint8),
        "h0": np.array(15, np.uint8),
        "fw": np.random.default_rng(0).normal(0, 0.02, (4, 3, 3, 3)).astype(np.float32), "sw": number(0.005),
        "zw": np.array(0, np.int8), "sa": number(0.04),
    }  # fmt: skip
    nodes[2:3] = [
        node("QuantizeLinear", "fw sw zw", "wq"),
        node("Clip", "wq l4 h4", "wc"),
        node("DequantizeLinear", "wc sw zw", "dw"),
    ]
    place = [step.output[0] for step in nodes].index("da_q")
    nodes[place : place + 2] = [
        node("QuantizeLinear", "r sa za", "ra"),
        node("Clip", "ra l0 h0", "rc"),
        node("DequantizeLinear", "rc sa za", "da"),
    ]
    pytest.importorskip("onnxruntime", reason="the results are compared with ONNX Runtime")
    graph = assert_equal_to_reference(model(nodes, IMAGE, constants, 17), tmp_path)
    assert is_integer(graph)
    assert graph.types["fw"].number == Int(4)
    assert graph.types["Clip_rc"].number == Int(4, False, 5)


def test_codes_may_be_moved_before_they_are_dequantised(tmp_path: Path) -> None:
    constants = {"s": number(0.1), "z": np.array(3, np.uint8), "t": np.array([0, -1], np.int64)}
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("MaxPool", "q", "p", kernel_shape=[2, 2]),
        node("Transpose", "p", "m", perm=[0, 2, 3, 1]),
        node("Reshape", "m t", "r"),
        node("DequantizeLinear", "r s z"),
    ]
    pytest.importorskip("onnxruntime", reason="the results are compared with ONNX Runtime")
    graph = assert_equal_to_reference(model(nodes, IMAGE, constants), tmp_path)
    assert op_names(graph) == ["quantise_scaled", "max_pool2d", "permute", "reshape", "dequantise", "mul"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("QuantizeLinear", "x s z", "y")], "the output 'y' are codes of QuantizeLinear"),
        ([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q t z")],
         "DequantizeLinear is not supported here: its scale or zero point is not that of the QuantizeLinear before it"),
        ([node("QuantizeLinear", "x s z", "q"), node("Cast", "q", to=1)],
         "Cast is not supported here: it computes with the codes of QuantizeLinear"),
        ([node("QuantizeLinear", "x n z", "q"), node("DequantizeLinear", "q n z")],
         "QuantizeLinear is not supported here: its scale is no positive float32 number"),
        ([node("QuantizeLinear", "x s i", "q"), node("DequantizeLinear", "q s i")],
         "QuantizeLinear is not supported here: its codes are torch.int32"),
    ],
)  # fmt: skip
def test_refusal(nodes: list[onnx.NodeProto], message: str, tmp_path: Path) -> None:
    constants = {
        "s": number(0.1), "t": number(0.2), "n": number(0), "z": np.array(0, np.uint8), "i": np.array(0, np.int32)
    }  # fmt: skip
    with pytest.raises(ToolError) as caught:
        read(model(nodes, IMAGE, constants), tmp_path)
    assert f"error[unsupported-op]: {message}" in str(caught.value)


class Pt2e(nn.Module):
    """What convert_pt2e makes of a small network: pairs of calls, and codes of weights in buffers."""

    def __init__(self) -> None:
        super().__init__()
        import torch.ao.quantization.fx._decomposed  # noqa: PLC0415  # defines torch.ops.quantized_decomposed

        self.register_buffer("w", torch.randint(-127, 128, (4, 3, 3, 3), dtype=torch.int8))
        self.register_buffer("w_scale", torch.rand(4) * 0.003 + 0.001)
        self.register_buffer("w_zero", torch.zeros(4, dtype=torch.int64))
        self.register_buffer("f", torch.randint(-127, 128, (5, 64), dtype=torch.int8))
        self.bias = nn.Parameter(torch.randn(4) * 0.3)

    def pair(self, x: Tensor, *parameters: object) -> Tensor:
        calls = torch.ops.quantized_decomposed
        dequantised: Tensor = calls.dequantize_per_tensor(calls.quantize_per_tensor(x, *parameters), *parameters)
        return dequantised

    def forward(self, x: Tensor) -> Tensor:
        calls = torch.ops.quantized_decomposed
        x = self.pair(x, 0.03, 5, -128, 127, torch.int8)
        w = calls.dequantize_per_channel(self.w, self.w_scale, self.w_zero, 0, -127, 127, torch.int8)
        y = self.pair(F.relu(F.conv2d(x, w, self.bias, padding=1)), 0.05, 0, 0, 255, torch.uint8)
        y = F.max_pool2d(y, 2).flatten(1)
        f = calls.dequantize_per_tensor(self.f, 0.002, 0, -127, 127, torch.int8)
        return F.linear(y, f)


def assert_equals_eager(graph: Graph, network: nn.Module) -> None:
    x = torch.randn(10, 3, 8, 8)
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(evaluate(graph, x)[0], expected, rtol=1e-5, atol=1e-5)
    assert is_integer(graph)
    assert op_names(graph) == [
        "quantise_scaled", "conv2d", "multi_threshold", "max_pool2d", "reshape", "linear", "dequantise", "mul",
    ]  # fmt: skip
    assert [str(const.type.number) for const in graph.consts if const.name in ("w", "f")] == ["i8.f0", "i8.f0"]


def test_pt2e_through_both_doors(tmp_path: Path) -> None:
    network = Pt2e().eval()
    exported = torch.export.export(network, (torch.zeros(1, 3, 8, 8),))
    assert_equals_eager(import_program(exported, "net"), network)
    torch.export.save(exported, tmp_path / "net.pt2")
    assert_equals_eager(import_pt2(tmp_path / "net.pt2"), network)


class Arithmetic(Pt2e):
    """Adds codes, which no quantiser's meaning covers."""

    def forward(self, x: Tensor) -> Tensor:
        codes = torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.03, 0, -128, 127, torch.int8)
        doubled = codes + codes
        result: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor(doubled, 0.03, 0, -128, 127, torch.int8)
        return result


class OtherScale(Pt2e):
    def forward(self, x: Tensor) -> Tensor:
        codes = torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.03, 0, -128, 127, torch.int8)
        result: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor(codes, 0.06, 0, -128, 127, torch.int8)
        return result


class OnlyCodes(Pt2e):
    def forward(self, x: Tensor) -> Tensor:
        codes: Tensor = torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.03, 0, -128, 127, torch.int8)
        return codes


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Arithmetic, "aten.add.Tensor is not supported here: it computes with codes"),
        (
            OtherScale,
            "quantized_decomposed.dequantize_per_tensor.default is not supported here: its scale or zero point",
        ),
        (OnlyCodes, "the output quantize_per_tensor are codes"),
    ],
)
def test_pt2e_refusals(network: type[nn.Module], message: str) -> None:
    exported = torch.export.export(network().eval(), (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(ToolError) as caught:
        import_program(exported, "net")
    assert f"error[unsupported-op]: {message}" in str(caught.value)
