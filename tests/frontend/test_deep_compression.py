from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bitkiln.frontend.deep_compression import caffe_input, load_squeezenet
from bitkiln.ir import Graph, ToolError, encode_kiln, evaluate, load_graph, save_graph
from bitkiln.ir.ops import Conv2d, Decode
from tests.ir.random_graphs import assert_same

EGYPTIAN_CAT, ESPRESSO = 285, 967
LAYERS = 26


@pytest.fixture(scope="module")
def file(shared_data: Path) -> Path:
    return shared_data / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"


@pytest.fixture(scope="module")
def graph(file: Path) -> Graph:
    return load_squeezenet(file)


def test_what_is_in_the_file(graph: Graph) -> None:
    """The published numbers: 26 convolutions, 1,248,424 weights and biases, a third of the weights not zero."""
    convolutions = [node for node in graph.nodes if isinstance(node.op, Conv2d)]
    assert len(convolutions) == LAYERS
    weights = [const for const in graph.consts if const.name.endswith(".weight")]
    biases = [const for const in graph.consts if const.name.endswith(".bias")]
    assert sum(const.type.elements for const in weights + biases) == 1_248_424
    nonzeros = sum(int((const.data != 0).sum()) for const in weights)
    assert nonzeros == 415_921
    assert round(nonzeros / sum(const.type.elements for const in weights), 3) == 0.334
    assert graph.types[graph.outputs[0]].shape == (1, 1000)
    assert sum(isinstance(node.op, Decode) for node in graph.nodes) == LAYERS


def test_convolution_of_the_first_layer_by_hand(graph: Graph, file: Path) -> None:
    """The first record read with nothing but a loop."""
    data = file.read_bytes()
    entries = int.from_bytes(data[:4], "little")
    codebook = np.frombuffer(data, "<f4", 256, 4 * LAYERS)
    codes = 4 * LAYERS + 4 * 256 + 4 * 96
    dense, place = np.zeros(96 * 3 * 7 * 7, np.float32), -1
    for i in range(entries):
        gap = data[codes + entries + i // 2] >> (4 * (i % 2)) & 15
        place += gap + 1
        dense[place] = codebook[data[codes + i]]
    (conv,) = (node for node in graph.nodes if node.name == "conv1")
    decode = graph.node[conv.args[1]]
    found = decode.op.evaluate(*(graph.const[arg].data for arg in decode.args))
    assert found.numpy().tobytes() == dense.tobytes()


def test_our_own_container_is_smaller_and_loses_nothing(graph: Graph, tmp_path: Path) -> None:
    save_graph(graph, tmp_path / "squeezenet.kiln")
    assert (tmp_path / "squeezenet.kiln").stat().st_size < 546_000  # the original has 675,763
    assert_same(load_graph(tmp_path / "squeezenet.kiln"), graph)


@pytest.mark.slow
@pytest.mark.parametrize(("photo", "label"), [("cat", EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_photos_are_recognised(graph: Graph, photo: str, label: int) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image has the photos")
    (scores,) = evaluate(graph, caffe_input(getattr(data, photo)()))
    chances = scores.softmax(1)[0]
    assert int(chances.argmax()) == label
    assert float(chances[label]) > 0.6


def test_input_as_caffe_makes_it() -> None:
    """Blue, green, red; each without its mean; the middle 227 of 256."""
    photo = np.zeros((512, 300, 3), np.uint8)
    photo[:, :, 0], photo[:, :, 2] = 10, 200
    x = caffe_input(photo)
    assert x.shape == (1, 3, 227, 227)
    assert torch.allclose(x[0].amax((1, 2)), torch.tensor([96.0, -117.0, -113.0]), atol=1e-3)
    assert torch.allclose(x[0].amin((1, 2)), torch.tensor([96.0, -117.0, -113.0]), atol=1e-3)
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
    assert caffe_input(ramp)[0, 2, :, 0].tolist() == pytest.approx([14 + i - 123 for i in range(227)])


def error(path: Path) -> str:
    with pytest.raises(ToolError) as caught:
        load_squeezenet(path)
    return str(caught.value)


def test_wrong_files(file: Path, tmp_path: Path) -> None:
    hint = "\n  help: expected compressed_SqueezeNet.net of github.com/songhan/SqueezeNet-Deep-Compression"
    data, path = file.read_bytes(), tmp_path / "a.net"
    message = f"error[missing-file]: {path} is no file\n  help: it is called compressed_SqueezeNet.net"
    assert error(path) == message
    codebook = 4 * LAYERS
    for content, why in (
        (b"", "104 more bytes are expected, but only 0 follow"),
        (data[:50_000], "4085 more bytes are expected, but only 1541 follow"),
        (data + b"\0", "1 bytes follow the last layer"),
        (b"\xff\xff\xff\xff" + data[4:], "4294967295 entries are more than the 14112 weights of [96, 3, 7, 7]"),
        (data[:codebook] + b"\1" + data[codebook + 1 :], "a codebook must be finite and begin with 0"),
        (encode_kiln(load_squeezenet(file)), "1279871881 entries are more than the 14112 weights of [96, 3, 7, 7]"),
    ):
        path.write_bytes(content)
        assert error(path) == f"error[bad-deep-compression-file]: {path} cannot be read: {why}{hint}"
    assert error(tmp_path) == f"error[bad-deep-compression-file]: {tmp_path} cannot be read: Is a directory{hint}"
