from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir.coding import LENGTH_LIMIT, DamagedFileError, code_lengths, huffman_decode, huffman_encode
from bitkiln.ir.coding.huffman import huffman_bytes

BYTE = np.dtype(np.uint8)


def cost_without_limit(counts: list[int]) -> int:
    """Bits of Huffman's own algorithm: the sum of all merged weights."""
    heap, total = sorted(counts), 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def best_limited_cost(counts: list[int]) -> int:
    """The cheapest complete code within the limit, by trying all sets of lengths."""
    found = []
    for lengths in itertools.combinations_with_replacement(range(1, LENGTH_LIMIT + 1), len(counts)):
        if sum(1 << (LENGTH_LIMIT - length) for length in lengths) == 1 << LENGTH_LIMIT:
            found.append(sum(a * b for a, b in zip(sorted(counts, reverse=True), lengths, strict=True)))
    return min(found)


def test_canonical_codes_by_hand() -> None:
    """Lengths 1, 2, 3, 3 in the order of symbols 2, 0, 1, 3 are the codes 0, 10, 110, 111."""
    lengths = code_lengths(np.array([3, 1, 9, 1]))
    assert lengths.tolist() == [2, 3, 1, 3]
    symbols = np.array([2, 0, 1, 3, 2], np.uint8)
    assert huffman_encode(symbols, lengths) == bytes([0b0_10_110_11, 0b1_0_000000])


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40))
def test_as_short_as_huffmans_own_code(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    assert int((lengths * np.array(counts)).sum()) == cost_without_limit(counts)


@pytest.mark.parametrize("count", [16, 17, 18])
def test_limited_code_is_complete_and_longer_only_where_it_must(count: int) -> None:
    """Weights like 2^i would need codes of `count` - 1 bits."""
    counts = np.array([1 << i for i in range(count)])
    lengths = code_lengths(counts)
    assert lengths.max() <= LENGTH_LIMIT
    assert (2.0 ** -lengths.astype(float)).sum() == 1
    excess = int((lengths * counts).sum()) - cost_without_limit(counts.tolist())
    assert (excess > 0) == (count - 1 > LENGTH_LIMIT)
    assert excess < counts.sum() // 1000


def test_limited_code_is_the_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bitkiln.ir.coding.huffman.LENGTH_LIMIT", f"{__name__}.LENGTH_LIMIT"):
        monkeypatch.setattr(module, 4)
    rng = np.random.default_rng(1)
    for _ in range(20):
        counts = [int(2 ** rng.uniform(0, 12)) + 1 for _ in range(rng.integers(5, 9))]
        assert int((code_lengths(np.array(counts)) * np.array(counts)).sum()) == best_limited_cost(counts)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=500), st.integers(0, 254))
def test_decoding_gives_the_same_symbols(symbols: list[int], other: int) -> None:
    counts = np.bincount([*symbols, other, other + 1], minlength=256)
    lengths = code_lengths(counts)
    given_symbols = np.array(symbols, np.uint8)
    data = huffman_encode(given_symbols, lengths)
    assert len(data) == huffman_bytes(np.bincount(symbols, minlength=256), lengths)
    found = huffman_decode(np.frombuffer(data, np.uint8), lengths, len(symbols), BYTE)
    assert np.array_equal(found, given_symbols)


@pytest.mark.parametrize("symbols", [2, 3, 300, 1 << 15])
def test_more_than_a_block(symbols: int) -> None:
    """More symbols than are encoded, and more bits than are decoded, at a time."""
    rng = np.random.default_rng(symbols)
    values = np.minimum(rng.geometric(min(0.9, 3 / symbols), (1 << 20) + 5) - 1, symbols - 1).astype(np.uint16)
    values[:symbols] = np.arange(symbols)
    lengths = code_lengths(np.bincount(values, minlength=symbols))
    data = np.frombuffer(huffman_encode(values, lengths), np.uint8)
    assert np.array_equal(huffman_decode(data, lengths, len(values), np.dtype(np.uint16)), values)


def test_no_symbols() -> None:
    assert huffman_encode(np.empty(0, np.uint8), np.array([1, 1], np.uint8)) == b""
    assert len(huffman_decode(np.empty(0, np.uint8), np.array([1, 1], np.uint8), 0, BYTE)) == 0


@pytest.mark.parametrize(
    ("lengths", "data", "count", "message"),
    [
        ([0, 0], b"\0", 1, "the lengths of 0 codes are those of no Huffman code"),
        ([1, 0], b"\0", 1, "the lengths of 1 codes are those of no Huffman code"),
        ([1, 1, 1], b"\0", 1, "the lengths of 3 codes are those of no Huffman code"),
        ([1, 2], b"\0", 1, "the lengths of 2 codes are those of no Huffman code"),
        ([1, 1], b"", 1, "1 codes do not fit in 0 bytes"),
        ([1, 1], b"\0\0", 1, "1 codes take 1 bytes, not 2"),
        ([1, 1], b"\1", 1, "the bits behind the last code must be 0"),
        ([1, 2, 2], b"\xff", 8, "the codes end after 4 of 8 symbols"),
        ([1, 2, 2], b"\xff", 5, "the codes end after 4 of 5 symbols"),
        ([2, 2, 2, 2], b"\xff\xff", 3, "3 codes take 1 bytes, not 2"),
        ([1, 2, 3, 3], b"\x03", 7, "7 codes take 2 bytes, not 1"),
    ],
)
def test_wrong_bytes(lengths: list[int], data: bytes, count: int, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        huffman_decode(np.frombuffer(data, np.uint8), np.array(lengths, np.uint8), count, BYTE)
