"""idx files: every number type round-trips, every damage is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bitkiln.frontend.idx import read_idx
from bitkiln.ir import ToolError
from tests.frontend.idx_files import TYPE_CODES, idx_bytes

GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
ZIPPED = gzip.compress(GOOD)


@pytest.mark.parametrize("dtype", sorted(TYPE_CODES))
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (2, 1, 3, 4), (0, 3)])
def test_round_trip(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(1).standard_normal(shape) * 50).astype(dtype)
    (tmp_path / "file").write_bytes(idx_bytes(array))
    found = read_idx(tmp_path / "file")
    assert found.shape == shape
    np.testing.assert_array_equal(found, array)


def test_gzip_is_told_from_the_bytes_not_from_the_name(tmp_path: Path) -> None:
    (tmp_path / "zipped").write_bytes(ZIPPED)
    (tmp_path / "plain.gz").write_bytes(GOOD)
    np.testing.assert_array_equal(read_idx(tmp_path / "zipped"), read_idx(tmp_path / "plain.gz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            "An idx file starts with the bytes 00 00, a type code and the number of dimensions, not with nothing "
            "(known type codes: 08, 09, 0b, 0c, 0d, 0e)",
        ),
        (
            b"\x89PNG\r\n",
            "An idx file starts with the bytes 00 00, a type code and the number of dimensions, not with 89 50 4e 47 "
            "(known type codes: 08, 09, 0b, 0c, 0d, 0e)",
        ),
        (
            b"\0\0\x0a\x01" + GOOD[4:],
            "An idx file starts with the bytes 00 00, a type code and the number of dimensions, not with 00 00 0a 01 "
            "(known type codes: 08, 09, 0b, 0c, 0d, 0e)",
        ),
        (
            b"\0\0\x08\0",
            "An idx file starts with the bytes 00 00, a type code and the number of dimensions, not with 00 00 08 00 "
            "(known type codes: 08, 09, 0b, 0c, 0d, 0e)",
        ),
        (GOOD[:9], "The header of 3 dimensions takes 16 bytes, the file has 9"),
        (GOOD[:-1], "The idx header promises (2, 3, 4) values, 24 bytes, but 23 bytes follow"),
        (GOOD + b"\0", "The idx header promises (2, 3, 4) values, 24 bytes, but 25 bytes follow"),
        (
            b"\0\0\x08\x03" + b"\xff" * 12,
            "The idx header promises (4294967295, 4294967295, 4294967295) values, "
            "79228162458924105385300197375 bytes, but 0 bytes follow",
        ),
        (
            ZIPPED[:-12],
            "The gzip file is damaged or cut short: Compressed file ended before the end-of-stream marker was reached",
        ),
    ],
)
def test_damaged_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ToolError) as caught:
        read_idx(path)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.slug, diagnostic.message, diagnostic.location.file) == ("bad-data-file", message, str(path))


@pytest.mark.parametrize("position", [3, 15, len(ZIPPED) - 6])
def test_damaged_gzip(tmp_path: Path, position: int) -> None:
    content = bytearray(ZIPPED)
    content[position] ^= 0xFF
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ToolError, match=r"bad-data-file.*The gzip file is damaged or cut short"):
        read_idx(tmp_path / "file")


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"unreadable-file.*The file cannot be read: Is a directory"):
        read_idx(tmp_path)
