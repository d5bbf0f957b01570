"""The sources of samples: each reader returns the arrays as they are there, neither checked nor scaled."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitkiln.ir import Location, fail

from .idx import read_idx

_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST_HINT = (
    "MNIST is at https://ossci-datasets.s3.amazonaws.com/mnist/ and "
    "https://storage.googleapis.com/cvdf-datasets/mnist/; torchvision puts it into <root>/MNIST/raw"
)
_ZIP_MAGIC = b"PK\x03\x04"
# What zipfile and numpy raise for archives that are damaged, encrypted or packed in another way.
_ZIP_ERRORS = (OSError, EOFError, RuntimeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error)
_NPZ_KEYS = ("train_x", "train_y", "test_x", "test_y")
_DIGITS_TEST_STRIDE = 5


@dataclass(frozen=True, eq=False)
class RawSet:
    """Inputs (n, ...) and labels (n,) of one set; the names say in messages where they came from."""

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    inputs_name: str
    labels_name: str


@dataclass(frozen=True, eq=False)
class RawData:
    train: RawSet
    test: RawSet


def read_idx_folder(folder: Path) -> RawData:
    """Read MNIST's four files; an image file of shape (n, h, w) gains a channel axis: (n, 1, h, w)."""
    if not folder.is_dir():
        raise fail(
            "bad-data-spec",
            'With format = "idx", [data] path must be the folder of the four files, not a file',
            Location(str(folder)),
        )
    missing = [name for name in _MNIST_FILES if _find_idx(folder, name) is None]
    if missing:
        raise fail(
            "missing-file",
            f"The folder lacks {', '.join(missing)} (each may end in .gz)",
            Location(str(folder)),
            MNIST_HINT,
        )
    paths = idx_files(folder)
    train_x, train_y, test_x, test_y = (read_idx(path) for path in paths)
    names = [str(path) for path in paths]
    return RawData(
        RawSet(_with_channel(train_x), train_y, names[0], names[1]),
        RawSet(_with_channel(test_x), test_y, names[2], names[3]),
    )


def idx_files(folder: Path) -> tuple[Path, ...]:
    """Return those of MNIST's four files that are there; the plain one, where there is a gzipped one as well."""
    return tuple(path for name in _MNIST_FILES if (path := _find_idx(folder, name)) is not None)


def _find_idx(folder: Path, name: str) -> Path | None:
    """Return the plain file if it is there, else the gzipped one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _with_channel(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return images[:, np.newaxis] if images.ndim == 3 else images


def read_npz(path: Path) -> RawData:
    """Read train_x, train_y, test_x and test_y from one archive; never unpickles."""
    location = Location(str(path))
    if path.is_dir():
        message = 'With format = "npz", [data] path must be the .npz file, not a folder'
        raise fail("bad-data-spec", message, location)
    try:
        # Opened here because numpy leaves a file open whose archive it cannot read.
        with path.open("rb") as file:
            if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
                raise fail("bad-data-file", "The file is not a .npz archive", location, "numpy.savez writes one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                names, arrays = zip(*_npz_members(archive, path), strict=True)
    except _ZIP_ERRORS as error:
        raise fail("bad-data-file", f"The archive cannot be read: {error}", location) from error
    return RawData(
        RawSet(arrays[0], arrays[1], names[0], names[1]),
        RawSet(arrays[2], arrays[3], names[2], names[3]),
    )


def _npz_members(archive: np.lib.npyio.NpzFile, path: Path) -> list[tuple[str, npt.NDArray[Any]]]:
    """Return name and array of each of the four members."""
    missing = [key for key in _NPZ_KEYS if key not in archive.files]
    if missing:
        raise fail(
            "bad-data-file",
            f"The archive must hold {', '.join(_NPZ_KEYS)}, but lacks {', '.join(missing)}",
            Location(str(path)),
            f"it holds {', '.join(sorted(archive.files)) or 'nothing'}",
        )
    names = [f"{path}[{key}]" for key in _NPZ_KEYS]
    return [(name, _npz_member(archive, key, name)) for key, name in zip(_NPZ_KEYS, names, strict=True)]


def _npz_member(archive: np.lib.npyio.NpzFile, key: str, name: str) -> npt.NDArray[Any]:
    try:
        array = archive[key]
    except _ZIP_ERRORS as error:
        # A ValueError may be numpy's refusal of object arrays, which only pickle could read.
        message = f"The array cannot be read: {error}"
        raise fail("bad-data-file", message, Location(name), "save plain arrays of numbers") from error
    if not isinstance(array, np.ndarray):  # numpy hands out members without its magic as bytes
        raise fail("bad-data-file", "The member is not a numpy array", Location(name))
    return array


def read_digits() -> RawData:
    """Return scikit-learn's digits; of each class, every fifth image, starting with the first, is for testing.

    Counted within the class because long stretches of the set run 0 to 9 over and over: every fifth image of
    the whole set would nearly always be a 0 or a 5.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  # a second of start-up, and optional
    except ImportError as error:
        raise fail(
            "missing-tool",
            f'[data] format = "digits" needs the Python package scikit-learn: {error}',
            hint="pip install scikit-learn",
        ) from error
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8)
    is_class = labels[:, np.newaxis] == np.arange(10)
    place_in_class = (is_class.cumsum(axis=0) - 1)[is_class]
    is_test = place_in_class % _DIGITS_TEST_STRIDE == 0
    return RawData(
        RawSet(images[~is_test], labels[~is_test], "digits", "digits"),
        RawSet(images[is_test], labels[is_test], "digits", "digits"),
    )
