from __future__ import annotations

import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import bitkiln.ir.coding.kiln
from bitkiln.ir.coding import MAGIC, DamagedFileError, StoredTensor, read_kiln, write_kiln
from bitkiln.ir.coding._cursor import varint
from bitkiln.ir.coding.kiln import DICTIONARY, constant_names

TEXT = "graph g\n%w = const : u5.f0[4,500]\n%b = const : f32[4]\nreturn %w, %b\n"


def tensors() -> list[StoredTensor]:
    rng = np.random.default_rng(0)
    weights = np.where(rng.random((4, 500)) < 0.1, rng.integers(1, 32, (4, 500)), 0).astype(np.uint8)
    return [StoredTensor(weights, 5), StoredTensor(np.array([0.5, -0.0, np.nan, 1e30], np.float32), 32)]


@pytest.fixture(scope="module")
def file() -> bytes:
    return write_kiln(TEXT, tensors())[0]


def with_check_sum(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def deflated(text: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return deflate.compress(text) + deflate.flush()


def with_text(text: bytes, size: int | None = None, rest: bytes = b"") -> bytes:
    packed = deflated(text)
    size = len(text) if size is None else size
    return with_check_sum(MAGIC + b"\1" + varint(size) + varint(len(packed)) + packed + rest)


def test_everything_comes_back(file: bytes) -> None:
    found = read_kiln(file)
    assert found.text == TEXT
    assert list(found.tensors) == ["w", "b"]
    for one, other in zip(found.tensors.values(), tensors(), strict=True):
        assert (one.width, one.is_signed, one.data.shape) == (other.width, other.is_signed, other.data.shape)
        assert one.data.tobytes() == other.data.tobytes()


def test_the_bytes_of_a_small_file() -> None:
    """As docs/kiln_format.md lists them."""
    text = "graph g\n%w = const : i3.f0[4]\nreturn %w\n"
    data, (record,) = write_kiln(text, [StoredTensor(np.array([-1, 0, 1, 3], np.int8), 3, True)])
    packed = deflated(text.encode())
    tensor = bytes([0, 0x80 | 3, 1, 4, 0, 0, 0b01_000_111, 0b0110])
    assert b"".join(record.parts) == tensor
    assert data == with_check_sum(b"\x89KILN\r\n\n\1" + bytes([len(text), len(packed)]) + packed + tensor)


def test_same_input_same_bytes(file: bytes) -> None:
    assert write_kiln(TEXT, tensors())[0] == file


def test_names_of_constants() -> None:
    assert constant_names("graph g\n%a = input : f32[1]\n%b.c = const : f32[1]\n%d = relu(%a) : f32[1]") == ["b.c"]


def test_reading_does_not_import_torch(file: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.kiln").write_bytes(file)
    program = (
        "import sys, pathlib, bitkiln.ir.coding as coding\n"
        f"print(coding.read_kiln(pathlib.Path({str(tmp_path / 'a.kiln')!r}).read_bytes()).tensors['w'].data.sum())\n"
        "print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.split() == [str(tensors()[0].data.sum()), "False"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it begins with b'', not b'\\x89KILN\\r\\n\\n'"),
        (b"\x7fELF" + bytes(99), "it begins with b'\\x7fELF\\x00\\x00\\x00\\x00', not b'\\x89KILN\\r\\n\\n'"),
        (MAGIC, "it ends after 8 bytes"),
        (MAGIC.replace(b"\r\n", b"\n") + bytes(9), "it begins with b'\\x89KILN\\n\\n\\x00', not b'\\x89KILN\\r\\n\\n'"),
        (with_check_sum(MAGIC + b"\2" + bytes(9)), "it has version 2; this bitkiln reads version 1"),
        (MAGIC + b"\1" + bytes(9), "its check sum is wrong: it is truncated or was changed"),
        (with_check_sum(MAGIC + b"\1\x80"), "1 more bytes are expected, but only 0 follow"),
        (
            with_check_sum(MAGIC + b"\1" + varint(1 << 40)),
            "the graph's text has at most 16777216 bytes, not 1099511627776",
        ),
        (with_check_sum(MAGIC + b"\1\2\3ab"), "3 more bytes are expected, but only 2 follow"),
        (with_check_sum(MAGIC + b"\1\2\2\7\7"), "the graph's text cannot be inflated: "),
        (with_text(b"graph", 4), "the graph's text has not the stated 4 bytes"),
        (with_text(b"graph", 6), "the graph's text has not the stated 6 bytes"),
        (with_text(bytes(1 << 26), 99), "the graph's text has not the stated 99 bytes"),
        (with_text(b"graph \xff"), "the graph's text is not ASCII"),
        (with_text(b"%w = const : x"), "%w: 1 more bytes are expected, but only 0 follow"),
        (with_text(b"%w = const : x\n%w = const : x", rest=bytes([1, 8, 1, 1, 0, 0, 7])), "%w is declared twice"),
        (with_text(b"graph", rest=b"\0\0\1"), "something other than zeros follows the last tensor"),
    ],
)
def test_wrong_files(data: bytes, message: str) -> None:
    with pytest.raises(DamagedFileError) as caught:
        read_kiln(data)
    assert str(caught.value).startswith(message)


def test_every_truncation_and_every_flipped_bit_is_noticed(file: bytes) -> None:
    for size in range(len(file)):
        with pytest.raises(DamagedFileError):
            read_kiln(file[:size])
    for bit in range(8 * len(file)):
        changed = bytearray(file)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedFileError):
            read_kiln(bytes(changed))


def test_mutations_with_a_right_check_sum_read_as_something_or_are_refused(file: bytes) -> None:
    rng, outcomes = random.Random(1), {True: 0, False: 0}
    for _ in range(400):
        body = bytearray(file[:-4])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(9, len(body))
            body[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        try:
            read_kiln(with_check_sum(bytes(body)))
        except DamagedFileError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert outcomes[True] > 10
    assert outcomes[False] > 100


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    """A tensor of 2^31 - 1 zeros would take 13 bytes: more than 64 MiB need a file in proportion."""
    one = bytes([6, 32, 1]) + varint(2**24 + 2**16) + bytes([1, 2, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DamagedFileError, match="16842752 elements are more than a file of this size may hold"):
        read_kiln(with_text(b"%w = const : x", rest=one))
    half = bytes([6, 32, 1]) + varint(2**23) + bytes([1, 2, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(DamagedFileError, match="%c: 8388608 elements are more than a file of this size may hold"):
        read_kiln(with_text(b"%a = const : x\n%b = const : x\n%c = const : x", rest=3 * half))


def test_a_huge_empty_network_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitkiln.ir.coding.kiln, "FREE_BYTES", 1000)
    empty = StoredTensor(np.zeros(2_000_000, np.float32), 32)
    data = write_kiln("%w = const : f32[2000000]", [empty])[0]
    assert 8_000_000 / 4096 - 10 < len(data) < 8_000_000 / 4096 + 10
    assert np.array_equal(read_kiln(data).tensors["w"].data, empty.data)


def test_the_page_shows_the_dictionary() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kiln_format.md").read_text("utf-8")
    shown = page.split("```text\n")[1].split("\n```")[0].replace("\n", "")
    assert shown.replace("\\n", "\n") == DICTIONARY.decode("ascii")
