"""SqueezeNet v1.0 from the file that its authors published with Deep Compression (Han et al. 2016).

The file has no header and no topology: counts of entries, then a record for each convolution in Caffe's order. So the
network stands here, as in SqueezeNet_deploy.prototxt: https://github.com/songhan/SqueezeNet-Deep-Compression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir import Builder, Codebook, Float, Graph, Location, TensorType, ToolError, fail
from bitkiln.ir.coding import DamagedFileError, Relative, packed_bytes, relative_decode, unpack_bits
from bitkiln.ir.ops import AdaptiveAvgPool2d, Concat, Conv2d, Decode, MaxPool2d, Relu, Reshape

from .torch_import import Imported

SQUEEZENET_SUFFIX = ".net"
CODE_BITS, GAP_BITS = 8, 4
SIZE = 227
RESIZED = 256
BGR_MEAN = (104.0, 117.0, 123.0)
"""Means of ImageNet's channels that were subtracted in training: SqueezeNet_trainval.prototxt."""
# Squeeze and expand filters of fire2 to fire9; a pooling follows conv1, fire4 and fire8.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
_POOLED_FIRES = (4, 8)
_LAYERS = 2 + 3 * len(_FIRES)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Indices of the weights, 0 for those that are 0; the values of indices 1 to 255; the biases."""

    indices: NDArray[np.uint8]
    table: NDArray[np.float32]
    bias: NDArray[np.float32]


def load_squeezenet(path: Path) -> Graph:
    """Return SqueezeNet v1.0 with the shared weights in `path`, from [1, 3, 227, 227] to the means of 1000 classes.

    The input is what `caffe_input` makes of a photo. Raises ToolError `missing-file` or `bad-deep-compression-file`.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise fail("missing-file", f"{path} is no file", hint="it is called compressed_SqueezeNet.net") from None
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from None
    try:
        return _Network(_Reader(data)).graph()
    except DamagedFileError as error:
        raise _bad(path, str(error)) from None


def import_squeezenet(path: Path, name: str) -> Imported:
    """Like `load_squeezenet`, under another name if one is given; the tables are no parameters."""
    graph = load_squeezenet(path)
    tables = sum(graph.types[node.args[1]].elements for node in graph.nodes if isinstance(node.op, Decode))
    return Imported(replace(graph, name=name or graph.name), graph.params - tables, 0)


def caffe_input(photo: NDArray[np.uint8]) -> Tensor:
    """Return the network's input [1, 3, 227, 227] for a photo [height, width, 3] in RGB.

    As Caffe's classifier does it: the whole photo is scaled to 256 x 256, the middle is cut out, its channels are put
    in the order BGR and lose their means; values stay between 0 and 255.
    """
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].to(torch.float32)
    scaled = F.interpolate(pixels, (RESIZED, RESIZED), mode="bilinear", antialias=True)
    start = (RESIZED - SIZE) // 2
    middle = scaled[:, :, start : start + SIZE, start : start + SIZE].flip(1)
    return middle - torch.tensor(BGR_MEAN).reshape(1, 3, 1, 1)


def _bad(path: Path, why: str) -> ToolError:
    hint = "expected compressed_SqueezeNet.net of github.com/songhan/SqueezeNet-Deep-Compression"
    return fail("bad-deep-compression-file", f"{path} cannot be read: {why}", hint=hint)


class _Reader:
    """The records of the file, in order."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._entries = iter(self._take(4 * _LAYERS).view("<u4").tolist())

    def layer(self, shape: tuple[int, ...]) -> _Layer:
        """Return the next convolution, whose weights have this shape."""
        entries, count = next(self._entries), math.prod(shape)
        if entries > count:
            raise DamagedFileError(f"{entries} entries are more than the {count} weights of {list(shape)}")
        codebook = self._take(4 << CODE_BITS).view("<f4").astype(np.float32)
        if codebook[0] != 0 or not np.isfinite(codebook).all():
            raise DamagedFileError("a codebook must be finite and begin with 0")
        bias = self._take(4 * shape[0]).view("<f4").astype(np.float32)
        codes = self._take(entries)
        gaps = unpack_bits(self._take(packed_bytes(entries, GAP_BITS)), entries, GAP_BITS, np.dtype(np.uint16))
        sparse = Relative(count, GAP_BITS, 0, gaps.astype(np.uint16), codes)
        return _Layer(relative_decode(sparse, np.dtype(np.uint8)).reshape(shape), codebook[1:], bias)

    def end(self) -> None:
        """Raise DamagedFileError unless every byte was read."""
        if len(self._data):
            raise DamagedFileError(f"{len(self._data)} bytes follow the last layer")

    def _take(self, count: int) -> NDArray[np.uint8]:
        if count > len(self._data):
            raise DamagedFileError(f"{count} more bytes are expected, but only {len(self._data)} follow")
        taken, self._data = self._data[:count], self._data[count:]
        return taken


class _Network:
    """Builds the graph while the records are read."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._build = Builder("squeezenet")

    def graph(self) -> Graph:
        x = self._build.input("data", TensorType((1, 3, SIZE, SIZE), Float()))
        x = self._pool(self._convolution(x, "conv1", 96, 7, stride=2), "pool1")
        for number, (squeeze, expand) in enumerate(_FIRES, 2):
            x = self._fire(x, f"fire{number}", squeeze, expand)
            if number in _POOLED_FIRES:
                x = self._pool(x, f"pool{number}")
        x = self._convolution(x, "conv_final", 1000, 1, padding=1)
        self._reader.end()
        x = self._build.add(AdaptiveAvgPool2d((1, 1)), (x,), "pool_final", Location(module="pool_final"))
        return self._build.graph((self._build.add(Reshape((1, 1000)), (x,), "scores"),))

    def _fire(self, x: str, name: str, squeeze: int, expand: int) -> str:
        x = self._convolution(x, f"{name}/conv1x1_1", squeeze, 1)
        small = self._convolution(x, f"{name}/conv1x1_2", expand, 1)
        large = self._convolution(x, f"{name}/conv3x3_2", expand, 3, padding=1)
        return self._build.add(Concat(1), (small, large), f"{name}/concat", Location(module=f"{name}/concat"))

    def _pool(self, x: str, name: str) -> str:
        op = MaxPool2d((3, 3), (2, 2), ceil_mode=True)  # Caffe rounds the number of windows up
        return self._build.add(op, (x,), name, Location(module=name))

    def _convolution(self, x: str, name: str, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> str:
        """A convolution with decoded weights, bias and ReLU."""
        build, loc = self._build, Location(module=name)
        shape = (filters, build.types[x].shape[1], kernel, kernel)
        layer = self._reader.layer(shape)
        number = Codebook(CODE_BITS, Float())
        indices = build.constant(f"{name}.weight", TensorType(shape, number), torch.from_numpy(layer.indices))
        table_type = TensorType(layer.table.shape, Float())
        table = build.constant(f"{name}.weight.table", table_type, torch.from_numpy(layer.table.copy()))
        bias = build.constant(f"{name}.bias", TensorType((filters,), Float()), torch.from_numpy(layer.bias))
        weight = build.add(Decode(has_zero=True), (indices, table), f"{name}.weight.decoded", loc)
        op = Conv2d((stride, stride), ((padding, padding), (padding, padding)))
        y = build.add(op, (x, weight, bias), name, loc)
        return build.add(Relu(), (y,), f"{name}.relu", loc)
