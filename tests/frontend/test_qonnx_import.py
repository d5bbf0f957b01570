"""QONNX: each operation as the qonnx package executes it, real networks as exact integers."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("onnx", reason='.onnx files need pip install "bitkiln[onnx]"')

import onnx

from bitkiln.frontend.onnx_import import import_onnx, read_onnx_program
from bitkiln.frontend.quantised import lower_quantised
from bitkiln.ir import Float, Graph, Int, ToolError, evaluate, evaluate_batches, exact_dtype
from bitkiln.ir.ops import MultiThreshold
from tests.frontend.onnx_files import Array, is_integer, model, node, op_names, read, write
from tests.frontend.qonnx_reference import execute

QONNX = "qonnx.custom_op.general"
X = np.concatenate([np.linspace(-4, 4, 257), [-1e9, 1e9, 0.0, 0.125, -0.125]]).astype(np.float32)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def quantised(
    op: str, domain: str, version: int, constants: dict[str, Array], folder: Path, **attributes: Any
) -> Tensor:
    """What the operation gives for X, as a Graph of one node."""
    inputs = " ".join(["x", *constants])
    proto = model([node(op, inputs, domain=domain, **attributes)], (1, len(X)), constants, domains={domain: version})
    return evaluate(read(proto, folder), torch.from_numpy(X)[None])[0][0]


QUANT = [
    (bits, signed, narrow, scale, zero_point, rounding)
    for bits, signed, narrow, scale, zero_point, rounding in [
        (8, 1, 0, 0.0173, 0, "ROUND"),
        (8, 1, 1, 0.0173, 0, "ROUND"),
        (4, 0, 0, 0.25, 0, "ROUND"),
        (4, 0, 1, 0.25, 0, "FLOOR"),
        (3, 1, 1, 0.5, 0, "CEIL"),
        (8, 0, 0, 0.031, 128, "ROUND"),
        (8, 0, 0, 0.25, 3, "HALF_EVEN"),
        (4, 1, 0, 0.25, -1, "HALF_UP"),
        (4, 1, 0, 0.25, 0, "HALF_DOWN"),
        (5, 1, 0, 0.25, 0, "UP"),
        (5, 1, 0, 0.125, 0, "DOWN"),
        (1, 1, 0, 0.7, 0, "ROUND"),
        (1, 0, 0, 0.7, 0, "ROUND"),
        (2, 1, 1, 1.0, 0, "ROUND"),
        (16, 1, 0, 0.001, 0, "ROUND"),
    ]
]


@pytest.mark.parametrize(("bits", "signed", "narrow", "scale", "zero_point", "rounding"), QUANT)
@pytest.mark.parametrize("domain", [QONNX, "onnx.brevitas", "finn.custom_op.general"])
def test_quant(
    bits: int, signed: int, narrow: int, scale: float, zero_point: int, rounding: str, domain: str, tmp_path: Path
) -> None:
    intquant = pytest.importorskip("qonnx.custom_op.general.intquant", reason="qonnx says what is right")
    constants = {"s": number(scale), "z": number(zero_point), "b": number(bits)}
    expected = intquant.int_quant(X, constants["s"], constants["z"], constants["b"], signed, narrow, rounding)
    for op in ("Quant", "IntQuant"):
        found = quantised(op, domain, 1, constants, tmp_path, signed=signed, narrow=narrow, rounding_mode=rounding)
        assert found.numpy().tolist() == expected.astype(np.float32).tolist()


def test_bipolar_quant(tmp_path: Path) -> None:
    found = quantised("BipolarQuant", "onnx.brevitas", 1, {"s": number(0.3)}, tmp_path)
    assert found.numpy().tolist() == np.where(X >= 0, np.float32(0.3), np.float32(-0.3)).tolist()


@pytest.mark.parametrize(("before", "after", "rounding"), [(8, 4, "FLOOR"), (8, 6, "ROUND"), (6, 6, "CEIL")])
def test_trunc_1(before: int, after: int, rounding: str, tmp_path: Path) -> None:
    trunc = pytest.importorskip("qonnx.custom_op.general.trunc", reason="qonnx says what is right")
    constants = {"s": number(2.0**-5), "z": number(0), "b": number(before), "a": number(after)}
    found = quantised("Trunc", QONNX, 1, constants, tmp_path, rounding_mode=rounding)
    expected = trunc.trunc_v1(X, *constants.values(), rounding)
    inside = np.abs(X) < 2.0 ** (before - 1) * 2.0**-5  # what `before` bits hold
    assert found.numpy()[inside].tolist() == expected[inside].astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("bits", "signed", "narrow", "rounding"), [(4, 0, 0, "FLOOR"), (4, 1, 1, "ROUND"), (3, 1, 0, "CEIL")]
)
def test_trunc_2(bits: int, signed: int, narrow: int, rounding: str, tmp_path: Path) -> None:
    trunc = pytest.importorskip("qonnx.custom_op.general.trunc", reason="qonnx says what is right")
    constants = {
        "s": number(0.05), "z": number(0), "b": number(8), "t": number(0.2), "a": number(bits)
    }  # fmt: skip
    found = quantised("Trunc", QONNX, 2, constants, tmp_path, rounding_mode=rounding, signed=signed, narrow=narrow)
    scale, zero, before, result, after = constants.values()
    expected = trunc.trunc_v2(X, scale, zero, before, narrow, signed, result, after, rounding)
    assert found.numpy().tolist() == expected.astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("scale", "bias"), [(1.0, 0.0), (2.0, -1.0), (0.5, 1.5), (0.4, 0.0), (0.5, 0.25), (0.3, 0.17), (1.0, -3.0)]
)
def test_multi_threshold(scale: float, bias: float, tmp_path: Path) -> None:
    package = pytest.importorskip("qonnx.custom_op.general.multithreshold", reason="qonnx says what is right")
    x = np.random.default_rng(0).normal(0, 2, (1, 3, 4, 5)).astype(np.float32)
    thresholds = np.random.default_rng(1).normal(0, 2, (3, 5)).astype(np.float32)
    attributes: dict[str, Any] = {"out_scale": scale, "out_bias": bias, "out_dtype": "INT8"}
    nodes = [node("MultiThreshold", "x t", domain=QONNX, **attributes)]
    found = evaluate(read(model(nodes, x.shape, {"t": thresholds}, domains={QONNX: 1}), tmp_path), torch.from_numpy(x))
    expected = package.multithreshold(x, thresholds, scale, bias)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("layout", "shape", "channels"), [("NHWC", (1, 4, 5, 3), 3), ("", (1, 4, 3), 3), ("NC", (1, 3), 3)]
)
def test_multi_threshold_layouts(layout: str, shape: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    """Without a layout three axes mean NWC."""
    thresholds = np.sort(np.random.default_rng(1).normal(0, 1, (channels, 3)).astype(np.float32))
    nodes = [node("MultiThreshold", "x t", domain=QONNX, out_dtype="UINT2", data_layout=layout)]
    graph = read(model(nodes, shape, {"t": thresholds}, domains={QONNX: 1}), tmp_path)
    x = torch.randn(shape)
    axis = 1 if layout == "NC" else len(shape) - 1
    moved = x.movedim(axis, -1)[..., None]
    expected = (moved >= torch.from_numpy(thresholds)).sum(-1).movedim(-1, axis)
    assert torch.equal(evaluate(graph, x)[0], expected.float())


def small_network(domain: str = QONNX) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Convolution, batch norm, ReLU and pooling between quantisers, then a linear layer with one scale a channel."""
    rng = np.random.default_rng(3)
    constants: dict[str, Array] = {
        "zero": number(0), "b8": number(8), "b4": number(4), "b3": number(3), "sx": number(0.05), "sa": number(0.11),
        "w": rng.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32), "sw": number(0.07),
        "g": rng.normal(0, 1, 6).astype(np.float32), "be": rng.normal(0, 0.3, 6).astype(np.float32),
        "m": rng.normal(0, 1, 6).astype(np.float32), "v": rng.uniform(0.5, 2, 6).astype(np.float32),
        "f": rng.normal(0, 0.3, (96, 5)).astype(np.float32),
        "sf": rng.uniform(0.02, 0.1, (1, 5)).astype(np.float32), "bias": rng.normal(0, 0.3, 5).astype(np.float32),
    }  # fmt: skip
    nodes = [
        node("Quant", "x sx zero b8", "qx", domain, signed=1, narrow=0, rounding_mode="ROUND"),
        node("Quant", "w sw zero b4", "qw", domain, signed=1, narrow=1, rounding_mode="ROUND"),
        node("Conv", "qx qw", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c g be m v", "n"),
        node("Relu", "n", "r"),
        node("Quant", "r sa zero b3", "qa", domain, signed=0, narrow=0, rounding_mode="ROUND"),
        node("MaxPool", "qa", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p", "flat"),
        node("Quant", "f sf zero b4", "qf", domain, signed=1, narrow=1, rounding_mode="ROUND"),
        node("MatMul", "flat qf", "y0"),
        node("Add", "y0 bias", "y"),
    ]
    return nodes, constants


def test_a_small_network_becomes_integers(tmp_path: Path) -> None:
    nodes, constants = small_network()
    path = write(model(nodes, (1, 3, 8, 8), constants, domains={QONNX: 2}), tmp_path)
    graph = import_onnx(path)
    assert op_names(graph) == [
        "quantise_scaled", "conv2d", "multi_threshold", "max_pool2d", "reshape", "linear", "dequantise", "scale_shift",
    ]  # fmt: skip
    formats = {name: str(value.number) for name, value in graph.types.items()}
    assert (formats["w"], formats["f"]) == ("i4.f0", "i4.f0")
    assert formats["Quant_qa"] == "u3.f4"  # 0.11 is 1.76 * 2**-4
    assert is_integer(graph)
    x = torch.randn(20, 3, 8, 8)
    torch.testing.assert_close(evaluate(graph, x)[0], evaluate(as_written(path), x)[0])


def as_written(path: Path) -> Graph:
    """The network in floats, with its quantisers where the file has them."""
    return lower_quantised(read_onnx_program(path).program)


def test_falling_channels_turn_their_weights(tmp_path: Path) -> None:
    """A negative gamma of batch norm: the sum falls as the code rises."""
    nodes, constants = small_network()
    graph = read(model(nodes, (1, 3, 8, 8), constants, domains={QONNX: 2}), tmp_path)
    (threshold,) = [step for step in graph.nodes if step.op.name == "multi_threshold"]
    assert threshold.op == MultiThreshold(Int(3, False, 4))
    codes = np.round(np.clip(constants["w"] / constants["sw"], -7, 7))
    turned = np.where(constants["g"].reshape(-1, 1, 1, 1) < 0, -codes, codes)
    assert graph.const["w"].data.tolist() == turned.tolist()


def test_scales_that_are_powers_of_two_are_points(tmp_path: Path) -> None:
    nodes, constants = small_network()
    constants |= {"sx": number(0.0625), "sw": number(0.125), "sa": number(0.5)}
    constants["sf"] = np.array([[0.5, 0.25, 0.125, 0.25, 0.5]], np.float32)
    graph = read(model(nodes, (1, 3, 8, 8), constants, domains={QONNX: 2}), tmp_path)
    formats = {name: value.number for name, value in graph.types.items()}
    assert str(formats["w"]) == "i4.f3"
    assert str(formats["f"]) == "i4.f[1,2,3,2,1]@0"
    assert formats["Quant_qa"] == Int(3, False, 1)
    assert str(formats["MatMul_y0"]) == "i14.f[2,3,4,3,2]@1"
    x = torch.randn(20, 3, 8, 8)
    path = tmp_path / "net.onnx"
    torch.testing.assert_close(evaluate(graph, x)[0], evaluate(as_written(path), x)[0])


def test_weights_off_their_grid_stay_floats(tmp_path: Path) -> None:
    """A weight that no quantiser made is multiplied as it is, on the values of the codes."""
    nodes, constants = small_network()
    nodes = [step for step in nodes if step.output[0] != "qw"]
    nodes[1] = node("Conv", "qx w", "c", pads=[1, 1, 1, 1])
    path = write(model(nodes, (1, 3, 8, 8), constants, domains={QONNX: 2}), tmp_path)
    graph = import_onnx(path)
    assert graph.types["w"].number == Float(32)
    assert graph.types["f"].number == Int(4)
    x = torch.randn(20, 3, 8, 8)
    torch.testing.assert_close(evaluate(graph, x)[0], evaluate(as_written(path), x)[0])


@pytest.mark.parametrize(
    ("constants", "attributes", "message"),
    [
        ({"s": number(-1), "z": number(0), "b": number(4)}, {}, "its scale is not positive"),
        ({"s": number(1), "z": number(0.5), "b": number(4)}, {}, "its zero point is no whole number"),
        ({"s": number(1), "z": number(0), "b": number(3.5)}, {}, "its bit width is 3.5"),
        ({"s": number(1), "z": number(0), "b": number(32)}, {}, "it has 32 bits"),
        ({"s": number(1), "z": number(0), "b": number(4)}, {"rounding_mode": "STOCHASTIC"},
         "its rounding mode is 'STOCHASTIC'"),
        ({"s": np.ones((4, 1), np.float32), "z": number(0), "b": number(4)}, {}, "Quant: "),
    ],
)  # fmt: skip
def test_refusal(constants: dict[str, Array], attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    nodes = [node("Quant", "x s z b", domain=QONNX, signed=1, narrow=0, **attributes)]
    if message == "Quant: ":
        message = "its parameters have shape [4, 1]"
    with pytest.raises(ToolError) as caught:
        read(model(nodes, (1, 3, 4, 5), constants, domains={QONNX: 1}), tmp_path)
    assert f"error[unsupported-op]: {QONNX}.Quant is not supported here: {message}" in str(caught.value)


def test_float_quant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"qonnx\.custom_op\.general\.FloatQuant is not supported"):
        read(model([node("FloatQuant", "x x x x x x", domain=QONNX)], (1, 3), domains={QONNX: 1}), tmp_path)


def test_tfc_on_mnist(shared_data: Path) -> None:
    """A binary network of FINN: 92.96 % of 10,000 images, all of it in integers."""
    graph = import_onnx(shared_data / "qonnx" / "TFC_1W1A.onnx")
    assert is_integer(graph)
    assert [str(step.type.number) for step in graph.nodes if step.op.name == "multi_threshold"] == ["i2.f0"] * 4
    assert exact_dtype(graph) == torch.float32
    images, labels = mnist(shared_data / "mnist")
    start = time.process_time()
    outputs = evaluate_batches(graph, images)
    assert time.process_time() - start < 10
    assert (outputs.argmax(1) == labels).sum() == 9296


def mnist(folder: Path) -> tuple[Tensor, Tensor]:
    """Test images from 0 to 1, and labels."""
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels = torch.from_numpy(np.frombuffer(images, np.uint8).reshape(-1, 1, 28, 28).astype(np.float32) / 255)
    return pixels, torch.from_numpy(np.frombuffer(labels, np.uint8).astype(np.int64))


def test_tfc_equals_what_is_written(shared_data: Path) -> None:
    path = shared_data / "qonnx" / "TFC_1W1A.onnx"
    images = mnist(shared_data / "mnist")[0][:500]
    found, expected = evaluate(import_onnx(path), images)[0], evaluate(as_written(path), images)[0]
    torch.testing.assert_close(found, expected)


def keyword_samples(count: int) -> Tensor:
    """Inputs that reach all codes of the first quantiser (8 bits of 0.83)."""
    return 30 * torch.randn(count, 1, 10, 49)


def test_keyword_spotting_equals_numpy(shared_data: Path) -> None:
    path = shared_data / "qonnx" / "kwsmlp_w3a3.onnx"
    graph = import_onnx(path)
    assert is_integer(graph)
    assert {str(const.type.number) for const in graph.consts if const.name in ("30", "43", "56", "69")} == {"i3.f0"}
    samples = keyword_samples(200)
    found = evaluate(graph, samples)[0]
    expected = np.concatenate([execute(path, sample[None].numpy()) for sample in samples])
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


def test_keyword_spotting_equals_qonnx(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package executes the file node by node, the standard ones in ONNX Runtime."""
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="qonnx says what is right")
    execution = pytest.importorskip("qonnx.core.onnx_exec")
    shapes = pytest.importorskip("qonnx.transformation.infer_shapes")
    helper = pytest.importorskip("onnx.helper")
    # ONNX Runtime 1.31 reads IR versions up to 13, and the onnx package writes 14 unless it is told otherwise.
    monkeypatch.setattr(execution, "qonnx_make_model", lambda graph: helper.make_model(graph, ir_version=10))
    path = shared_data / "qonnx" / "kwsmlp_w3a3.onnx"
    network = wrapper.ModelWrapper(str(path)).transform(shapes.InferShapes())
    graph = import_onnx(path)
    samples = keyword_samples(8)
    for sample, found in zip(samples, evaluate(graph, samples)[0], strict=True):
        expected = execution.execute_onnx(network, {"inp.1": sample[None].numpy()})["74"][0]
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-5, atol=1e-5)
