"""The container of a `.pt2` file: an uncompressed zip of JSON and raw tensors, mapped into memory and never copied.

Nothing of the file is executed: pickled tensors are refused, and every offset is checked before it is used.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import ToolError, fail

T = TypeVar("T")

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_MAX_NESTING = "the JSON is nested too deeply"

# Element types by the number that the schema gives them; those that no network has are left out.
DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}


def bad_pt2(message: str) -> ToolError:
    """The file is damaged, or from a torch that writes another layout."""
    return fail("bad-pt2", message, hint="save the program again with torch.export.save of torch 2.13")


def get(table: object, key: str, kind: type[T]) -> T:
    """Return the entry of a JSON object that must be there and be of this kind."""
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise bad_pt2(f"expected {kind.__name__} under {key!r} in the program's JSON, not {str(value)[:60]!r}")
    return value


def whole(entry: object) -> int:
    """Read a size: `{"as_int": 3}`. An expression is known only at run time."""
    if isinstance(entry, dict) and "as_int" not in entry and ("as_expr" in entry or "as_name" in entry):
        raise fail(
            "dynamic-shape",
            "the program has sizes that are known only at run time",
            hint="export the model without dynamic_shapes, for one fixed input size",
        )
    return get(entry, "as_int", int)


@dataclass(frozen=True, eq=False)
class Archive:
    """An open `.pt2` file: its members by their name below the root folder, and its bytes."""

    members: Mapping[str, zipfile.ZipInfo]
    data: Any  # numpy.memmap of bytes, copy on write

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Raises ToolError `missing-file` or `bad-pt2`."""
        if not path.is_file():
            raise fail("missing-file", f"{path} is no file", hint="torch.export.save(program, path) writes one")
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
            data = np.memmap(path, mode="c")
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise bad_pt2(f"{path} is no .pt2 file: {str(error)[:100]}") from None
        members = {info.filename.partition("/")[2]: info for info in infos}
        found = cls(members, data)
        if "archive_format" not in members or found.read("archive_format") != b"pt2":
            raise bad_pt2(f"{path} has no archive_format pt2, so torch before 2.8 or another program wrote it")
        if found.read("byteorder") != b"little":
            raise bad_pt2(f"{path} is not little-endian")
        return found

    def read(self, name: str) -> bytes:
        """Content of a member."""
        return bytes(self.content(name))

    def content(self, name: str) -> Any:
        """A member's bytes as a view of the file."""
        info = self.members.get(name)
        if info is None:
            raise bad_pt2(f"the archive has no {name}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise bad_pt2(f"{name} is compressed or encrypted")
        start = info.header_offset
        header = bytes(self.data[start : start + _LOCAL_HEADER.size]) if start >= 0 else b""
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise bad_pt2(f"{name} has a damaged header")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start += _LOCAL_HEADER.size + name_length + extra_length
        if start + info.file_size > len(self.data):
            raise bad_pt2(f"{name} ends behind the end of the file")
        return self.data[start : start + info.file_size]

    def json(self, name: str) -> dict[str, Any]:
        """A member that is a JSON object."""
        try:
            value = json.loads(self.read(name))
        except RecursionError:
            raise bad_pt2(f"{name}: {_MAX_NESTING}") from None
        except ValueError as error:
            raise bad_pt2(f"{name} is no JSON: {str(error)[:100]}") from None
        if not isinstance(value, dict):
            raise bad_pt2(f"{name} is no JSON object")
        return value

    def tensors(self, folder: str, config: str) -> dict[str, Tensor]:
        """The tensors that a configuration names, as views of the file; tied ones share their memory."""
        entries = get(self.json(f"{folder}/{config}"), "config", dict)
        return {name: self._tensor(folder, name, entry) for name, entry in entries.items()}

    def _tensor(self, folder: str, name: str, entry: object) -> Tensor:
        if get(entry, "use_pickle", bool):
            raise fail(
                "pickled-tensor",
                f"{name} is stored as a pickle, which could run code when it is read",
                hint="save a program whose parameters are plain dense tensors",
            )
        meta = get(entry, "tensor_meta", dict)
        dtype = DTYPES.get(get(meta, "dtype", int))
        if dtype is None or get(meta, "layout", int) != 7:
            raise bad_pt2(f"{name} is no dense tensor of a known element type")
        sizes = tuple(whole(size) for size in get(meta, "sizes", list))
        strides = tuple(whole(stride) for stride in get(meta, "strides", list))
        offset = whole(get(meta, "storage_offset", dict))
        storage = self._storage(f"{folder}/{get(entry, 'path_name', str)}", name, dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=False))
        numbers = (*sizes, *strides, offset)
        is_inside = len(sizes) == len(strides) and min(numbers) >= 0 and max(numbers) < 1 << 62
        is_empty = 0 in sizes
        if not is_inside or math.prod(sizes) > len(storage) or (not is_empty and last >= len(storage)):
            raise bad_pt2(f"{name} of shape {list(sizes)} does not fit its {len(storage)} stored elements")
        return storage.as_strided(sizes, strides, 0 if is_empty else offset)

    def _storage(self, member: str, name: str, dtype: torch.dtype) -> Tensor:
        content = self.content(member)
        if len(content) % dtype.itemsize:
            raise bad_pt2(f"{name} has {len(content)} bytes, which are no whole elements of {dtype}")
        if len(content) == 0:
            return torch.empty(0, dtype=dtype)
        if content.ctypes.data % dtype.itemsize:
            content = content.copy()  # files of other writers need not be aligned
        return torch.from_numpy(content).view(dtype)
