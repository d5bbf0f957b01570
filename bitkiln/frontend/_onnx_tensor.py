"""Tensors of an .onnx file, in it or in files beside it. Sizes are checked before anything is allocated."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import ToolError, fail

if TYPE_CHECKING:
    import onnx

# TensorProto.DataType; unsigned types are widened to what torch computes with.
TYPES: Mapping[int, torch.dtype] = MappingProxyType(
    {
        1: torch.float32,
        2: torch.uint8,
        3: torch.int8,
        4: torch.int32,  # uint16
        5: torch.int16,
        6: torch.int32,
        7: torch.int64,
        9: torch.bool,
        10: torch.float16,
        11: torch.float64,
        12: torch.int64,  # uint32
        16: torch.bfloat16,
    }
)
_BYTES: Mapping[int, int] = MappingProxyType(
    {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 16: 2}
)
_MAX_ELEMENTS = 1 << 31


def read_tensor(proto: onnx.TensorProto, path: Path) -> Tensor:
    """Return a tensor of the model at `path`, a view of its bytes where that is possible."""
    shape = tuple(proto.dims)
    if proto.data_type not in TYPES:
        raise fail(
            "wrong-dtype",
            f"the tensor {proto.name[:80]!r} has the element type {proto.data_type}, which is not supported",
            hint="export the model in float32, with 8-bit codes",
        )
    if min(shape, default=0) < 0 or math.prod(shape) > _MAX_ELEMENTS or len(shape) > 16:
        raise _bad(proto, f"has the shape {str(list(shape[:17]))[:160]}")
    stored = math.prod(shape) * _BYTES[proto.data_type]
    if proto.data_location == 1:
        return _read_external(proto, path, shape, stored)
    if proto.HasField("raw_data") and len(proto.raw_data) != stored:
        raise _bad(proto, f"of shape {list(shape)} has {len(proto.raw_data)} bytes, expected {stored}")
    return _convert(proto, shape)


def _convert(proto: onnx.TensorProto, shape: tuple[int, ...]) -> Tensor:
    from onnx import numpy_helper  # noqa: PLC0415  # an extra

    try:
        array = numpy_helper.to_array(proto)
    except (ValueError, TypeError) as error:
        raise _bad(proto, f"of shape {list(shape)} cannot be read: {str(error)[:120]}") from None
    if array.shape != shape:
        raise _bad(proto, f"of shape {list(shape)} has {array.size} elements")
    wanted = TYPES[proto.data_type]
    if proto.data_type in (4, 12):
        return torch.from_numpy(array.astype(np.int64)).to(wanted)
    if wanted == torch.bfloat16:
        return torch.from_numpy(array.astype(np.float32)).to(wanted)
    return _view(array)


def _view(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing here writes
        return torch.from_numpy(array)


def _read_external(proto: onnx.TensorProto, path: Path, shape: tuple[int, ...], stored: int) -> Tensor:
    """Map a tensor out of a file in the model's own folder."""
    notes = {item.key: item.value for item in proto.external_data}
    location = notes.get("location", "")
    folder = path.resolve().parent
    file = folder if "\0" in location else (folder / location).resolve()
    if file == folder or not file.is_relative_to(folder):
        raise fail(
            "unsafe-path",
            f"the tensor {proto.name!r} of {path.name} is stored in {location[:80]!r}, outside the model's folder",
            hint="put the model and its data files into one folder",
        )
    if not file.is_file():
        raise fail(
            "missing-file", f"{path.name} keeps its weights in {location[:80]!r}, which is not there", hint=f"at {file}"
        )
    if proto.data_type in (4, 12, 16):
        raise _bad(proto, f"has the element type {proto.data_type}, which is not supported in a separate file")
    offset, length = _number(proto, notes, "offset", 0), _number(proto, notes, "length", stored)
    if length != stored or offset + length > file.stat().st_size:
        raise _bad(proto, f"of shape {list(shape)} needs {stored} bytes; {location[:80]!r} has not got them")
    if stored == 0:
        return torch.zeros(shape, dtype=TYPES[proto.data_type])
    dtype = torch.zeros((), dtype=TYPES[proto.data_type]).numpy().dtype
    return _view(np.memmap(file, dtype, "c", offset, shape))


def _number(proto: onnx.TensorProto, notes: Mapping[str, str], key: str, default: int) -> int:
    text = notes.get(key, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _bad(proto, f"has the {key} {text[:80]!r}")
    return int(text)


def _bad(proto: onnx.TensorProto, what: str) -> ToolError:
    return fail("bad-onnx", f"the tensor {proto.name[:80]!r} {what}", hint="export the model again")
