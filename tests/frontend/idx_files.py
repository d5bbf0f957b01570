"""Writes idx files for tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
MNIST_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: npt.NDArray[Any]) -> bytes:
    code = TYPE_CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path, train: int = 12, test: int = 5, zipped: bool = False) -> list[npt.NDArray[Any]]:
    """Write four files of random 4x3 images and labels 0 to 9; return their arrays in the order of MNIST_NAMES."""
    random = np.random.default_rng(0)
    arrays: list[npt.NDArray[Any]] = []
    for count in (train, test):
        arrays.append(random.integers(0, 256, (count, 4, 3), np.uint8))
        arrays.append(random.integers(0, 10, count, np.uint8))
    for name, array in zip(MNIST_NAMES, arrays, strict=True):
        content = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays
