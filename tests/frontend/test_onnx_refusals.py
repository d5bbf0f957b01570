"""ONNX files that cannot be imported: what is said, and where. Never a partial graph, never another network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason='.onnx files need pip install "bitkiln[onnx]"')

import onnx
from onnx import helper, numpy_helper

from bitkiln.frontend.onnx_import import import_onnx
from bitkiln.ir import ToolError, evaluate
from tests.frontend.onnx_files import Array, model, node, read, write

IMAGE = (1, 4, 7, 6)
VECTOR = (1, 6)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


# nodes, shape of the input, constants, opset, the whole message
CASES: list[tuple[Sequence[onnx.NodeProto], Sequence[int], dict[str, Array], int, str]] = [
    ([node("Sin", "x")], VECTOR, {}, 13,
     "error[unsupported-op]: Sin is not supported here: it depends on the model's input\n"
     "  --> net.onnx (Sin_y)\n  help: write this part with supported operations"),
    ([node("LSTM", "x x x")], VECTOR, {}, 13,
     "error[unsupported-op]: LSTM is not supported\n  --> net.onnx (LSTM_y)\n"
     "  help: recurrent networks are not supported; use convolutions or attention"),
    ([node("QLinearConv", "x x x x x x x x")], IMAGE, {}, 13,
     "error[unsupported-op]: QLinearConv is not supported\n  --> net.onnx (QLinearConv_y)\n"
     "  help: quantise in the QDQ form (QuantFormat.QDQ)"),
    ([node("Conv", "x w", domain="my.ops")], IMAGE, {"w": floats(6, 4, 3, 3)}, 13,
     "error[unsupported-op]: my.ops.Conv is not supported\n  --> net.onnx (Conv_y)\n  help: did you mean Conv"),
    ([node("Sin", "x", "a"), node("Relu", "a", "b"), node("Sign", "x", "c"), node("Add", "b c")], VECTOR, {}, 13,
     "error[unsupported-op]: Sin is not supported here: it depends on the model's input\n"
     "  --> net.onnx (Sin_a)\n  help: write this part with supported operations\n"
     "error[unsupported-op]: Sign is not supported\n  --> net.onnx (Sign_c)\n"),
    ([node("Celu", "x")], VECTOR, {}, 28,
     "error[unsupported-op]: Celu of opset 28 is not supported; known are 12\n  --> net.onnx (Celu_y)\n"
     "  help: export with opset 11 to 21, or convert: onnx.version_converter.convert_version(model, 18)"),
    ([node("Celu", "x")], VECTOR, {}, 11,
     "error[unsupported-op]: Celu does not exist in opset 11\n  --> net.onnx (Celu_y)\n  help: export the model again"),
    ([node("Relu", "x")], VECTOR, {}, 6,
     "error[unsupported-op]: the model has opset 6; at least 7 is expected\n"
     "  help: convert it: onnx.version_converter.convert_version(model, 18)"),
    ([node("Relu", "x", quick=1)], VECTOR, {}, 13,
     "error[unsupported-op]: Relu is not supported here: its attribute 'quick' is not known\n"
     "  --> net.onnx (Relu_y)\n  help: leave it out"),
    ([node("Relu", "x x")], VECTOR, {}, 13,
     "error[unsupported-op]: Relu is not supported here: its input number 2 is not known\n"
     "  --> net.onnx (Relu_y)\n  help: leave it out"),
    ([node("BatchNormalization", "x g g g g", training_mode=1)], IMAGE, {"g": floats(4)}, 15,
     "error[unsupported-op]: BatchNormalization is not supported here: it is in training mode\n"
     "  --> net.onnx (BatchNormalization_y)\n  help: call model.eval() before the export"),
    ([node("MaxPool", "x", "p i", kernel_shape=[2, 2]), node("Cast", "i", "f", to=1), node("Relu", "f")], IMAGE, {}, 13,
     "error[unsupported-op]: MaxPool is not supported here: its output 'i' is used\n"
     "  --> net.onnx (MaxPool_p)\n  help: use only its first output"),
    ([node("ConvTranspose", "x w")], (1, 4, 5, 5, 5), {"w": floats(4, 6, 3, 3, 3)}, 13,
     "error[unsupported-op]: ConvTranspose is not supported here: its images have 3 axes\n"
     "  --> net.onnx (ConvTranspose_y)\n  help: 1 to 2 work"),
    ([node("Conv", "x w")], IMAGE, {"w": floats(6, 3, 3, 3)}, 13,
     "error[bad-onnx]: Conv does not fit its inputs: "),
    ([node("Relu", "z")], VECTOR, {}, 13,
     "error[bad-onnx]: Relu reads the value 'z', which no node before it defines\n  --> net.onnx (Relu_y)\n"
     "  help: export the model again, and check it with onnx.checker.check_model"),
    ([node("Relu", "x"), node("Relu", "x")], VECTOR, {}, 13,
     "error[bad-onnx]: the value 'y' is defined twice\n  --> net.onnx (Relu_y)\n"),
    ([node("Relu", "x", "z")], VECTOR, {}, 13, "error[bad-onnx]: the output 'y' is not defined\n"),
    ([node("Shape", "x", "s"), node("Cast", "s", to=1)], VECTOR, {}, 13,
     "error[constant-output]: the output Shape_s.shape does not depend on the network's input"),
    ([node("Reshape", "x s")], VECTOR, {"s": ints(2, 4)}, 13, "error[bad-onnx]: Reshape does not fit its inputs: "),
    ([node("Relu", "x", "r"), node("Shape", "r", "s"), node("Mul", "s h", "t"), node("ConstantOfShape", "t")], VECTOR,
     {"h": ints(1 << 15, 1 << 15)}, 13,
     "error[bad-onnx]: ConstantOfShape makes too large a constant\n  --> net.onnx (ConstantOfShape_y)\n"),
    ([node("Expand", "c s", "e"), node("Exp", "e", "f"), node("Add", "x f")], VECTOR,
     {"c": floats(1), "s": ints(1 << 15, 1 << 15)}, 13,
     "error[bad-onnx]: Exp would compute too large a constant\n  --> net.onnx (Exp_f)\n"),
    ([node("Resize", "x _ s", mode="linear", antialias=1)], IMAGE, {"s": np.array([1, 1, 0.5, 0.5], np.float32)}, 18,
     "error[unsupported-op]: Resize is not supported here: it smooths (antialias)\n  --> net.onnx (Resize_y)\n"
     "  help: use antialias=0"),
    ([node("Resize", "x _ s", mode="linear", coordinate_transformation_mode="asymmetric")], IMAGE,
     {"s": np.array([1, 1, 2, 2], np.float32)}, 13,
     "error[unsupported-op]: Resize is not supported here: its mode is linear with asymmetric\n"
     "  --> net.onnx (Resize_y)\n  help: use half_pixel or align_corners"),
    ([node("Gather", "c i", "g"), node("Add", "x g")], VECTOR, {"c": floats(6), "i": ints(7)}, 13,
     "error[bad-onnx]: Gather: an index is outside an axis of 6\n"),
    ([node("Mul", "x h")], VECTOR, {"h": floats(6).astype(np.float16)}, 13, "error[wrong-dtype]: h is torch.float16, "),
    ([node("Cast", "x", "h", to=10), node("Cast", "h", to=1)], VECTOR, {}, 13,
     "error[unsupported-op]: Cast is not supported here: it converts torch.float32 to torch.float16\n"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "shape", "constants", "opset", "message"), CASES)
def test_refusal(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int],
    constants: dict[str, Array],
    opset: int,
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(ToolError) as caught:
        read(model(nodes, shape, constants, opset), tmp_path)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        (("N", 3, "H", 8), None, "error[dynamic-shape]: the input 'x' has open sizes ['?', 3, '?', 8]\n"
         "  help: give them: --input-size 1,3,32,32"),
        (("N", 3, "H", 8), (1, 3, 8), "error[input-shape]: the input 'x' has shape ['?', 3, '?', 8], not [1, 3, 8]"),
        (("N", 3, 4, 8), (1, 3, 5, 8), "error[input-shape]: the input 'x' has shape ['?', 3, 4, 8], not [1, 3, 5, 8]"),
        (("N", 1 << 40), None, "error[bad-onnx]: the input 'x' has the shape [None, 1099511627776]\n"
         "  help: export the model again, and check it with onnx.checker.check_model"),
        (("N", "C"), (1, 1 << 40), "error[input-shape]: a sample has at most 2147483647 values, not 1099511627776: "
         "[1, 1099511627776]"),
        ((2, 3), None, "error[input-shape]: the program was exported for an input of [2, 3]; its first size must be 1\n"
         "  help: export the model with one sample as its example input"),
    ],
)  # fmt: skip
def test_sizes_of_the_input(
    shape: tuple[int | str, ...], given: tuple[int, ...] | None, message: str, tmp_path: Path
) -> None:
    path = write(model([node("Relu", "x")], shape), tmp_path)
    with pytest.raises(ToolError) as caught:
        import_onnx(path, input_shape=given)
    assert str(caught.value) == message


@pytest.mark.parametrize("batch", [0, -1])
def test_sizes_that_are_no_sizes_are_open(batch: int, tmp_path: Path) -> None:
    path = write(model([node("Relu", "x")], (batch, 3, 4)), tmp_path)
    assert import_onnx(path).inputs[0].type.shape == (1, 3, 4)


def test_open_sizes_are_given(tmp_path: Path) -> None:
    path = write(model([node("Relu", "x")], ("N", 3, "H", 8)), tmp_path)
    assert import_onnx(path, input_shape=(1, 3, 4, 8)).inputs[0].type.shape == (1, 3, 4, 8)


def test_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(ToolError) as caught:
        import_onnx(path)
    assert str(caught.value) == (
        f"error[missing-file]: {path} is no file\n  help: torch.onnx.export(model, args, path) writes one"
    )
    for content in (b"", b"not an ONNX file", b"\x0a\x03abc", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(ToolError) as caught:
            import_onnx(path)
        assert str(caught.value).startswith(f"error[bad-onnx]: {path} is no ONNX model: ")


def test_an_opset_that_there_will_never_be(tmp_path: Path) -> None:
    proto = model([node("Relu", "x")], VECTOR)
    proto.opset_import[0].version = 1 << 40
    with pytest.raises(ToolError, match="the model has opset 1099511627776"):
        import_onnx(write(proto, tmp_path))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = write(model([node("Relu", "x")], VECTOR), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"Relu_y", b"Rel\xff_y"))
    with pytest.raises(ToolError, match="it has names that are no UTF-8"):
        import_onnx(path)


def test_a_file_without_the_onnx_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(model([node("Relu", "x")], VECTOR), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ToolError) as caught:
        import_onnx(path)
    assert str(caught.value) == (
        'error[missing-package]: the Python package onnx is not installed\n  help: pip install "bitkiln[onnx]"'
    )


def external(location: str, folder: Path, *, length: int = 96, offset: int = 8) -> Path:
    """A model whose weight lies in another file."""
    proto = model([node("MatMul", "x w")], VECTOR, {"w": floats(6, 4)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return write(proto, folder)


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(b"12345678" + floats(6, 4).tobytes())
    graph = import_onnx(external("w.data", tmp_path))
    x = torch.randn(2, 6)
    torch.testing.assert_close(evaluate(graph, x)[0], x @ torch.from_numpy(floats(6, 4)))


@pytest.mark.parametrize("location", ["../w.data", "/etc/passwd", "", "link", "a/../../w.data", "w\0"])
def test_weights_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.data").write_bytes(bytes(200))
    (folder / "link").symlink_to(tmp_path / "w.data")
    with pytest.raises(ToolError) as caught:
        import_onnx(external(location, folder))
    assert str(caught.value).startswith("error[unsafe-path]: the tensor 'w' of net.onnx is stored in ")


@pytest.mark.parametrize(
    ("length", "offset", "message"),
    [
        (96, 9, "error[bad-onnx]: the tensor 'w' of shape [6, 4] needs 96 bytes; 'w.data' has not got them"),
        (95, 0, "error[bad-onnx]: the tensor 'w' of shape [6, 4] needs 96 bytes; 'w.data' has not got them"),
        (96, -8, "error[bad-onnx]: the tensor 'w' has the offset '-8'"),
    ],
)
def test_short_data_files(length: int, offset: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(bytes(104))
    with pytest.raises(ToolError) as caught:
        import_onnx(external("w.data", tmp_path, length=length, offset=offset))
    assert str(caught.value).startswith(message)


def test_missing_data_file(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        import_onnx(external("w.data", tmp_path))
    assert str(caught.value).startswith(
        "error[missing-file]: net.onnx keeps its weights in 'w.data', which is not there"
    )


def test_sizes_that_the_data_do_not_have(tmp_path: Path) -> None:
    for dims in ((6, 5), (-6, 4), (1 << 40, 1 << 40), (1 << 62,)):
        proto = model([node("MatMul", "x w")], VECTOR, {"w": floats(6, 4)})
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        with pytest.raises(ToolError, match=r"error\[bad-onnx\]: the tensor 'w' "):
            read(proto, tmp_path)


def test_not_finite_weights(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"error\[not-finite\]: w has 4 NaN or infinite values"):
        read(model([node("Conv", "x w")], IMAGE, {"w": np.full((1, 4, 1, 1), np.nan, np.float32)}), tmp_path)


def test_two_inputs_of_one_name(tmp_path: Path) -> None:
    proto = model([node("Relu", "x")], VECTOR)
    proto.graph.input.append(proto.graph.input[0])
    with pytest.raises(ToolError, match="two inputs of the model have the same name"):
        read(proto, tmp_path)


def test_an_initialiser_among_the_inputs_is_a_constant(tmp_path: Path) -> None:
    """Files before IR version 4 list their initialisers as inputs, too."""
    proto = model([node("Add", "x c")], VECTOR, {"c": floats(6)})
    proto.graph.input.append(helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [6]))
    assert len(read(proto, tmp_path).inputs) == 1
    assert numpy_helper.to_array(proto.graph.initializer[0]).tolist() == floats(6).tolist()


def test_control_flow(tmp_path: Path) -> None:
    branch = helper.make_graph([node("Relu", "x")], "branch", [], [])
    proto = model([node("If", "c", then_branch=branch, else_branch=branch)], VECTOR, {"c": np.array(True)})
    with pytest.raises(ToolError) as caught:
        read(proto, tmp_path)
    assert str(caught.value) == (
        "error[unsupported-op]: control flow (Loop, If, Scan) is not supported\n  --> net.onnx (If_y)\n"
        "  help: export the model with a fixed path of execution"
    )
