"""The words of the accelerator's AXI4-Stream ports: elements in 8, 16, 32 or 64 bits, so that a host's arrays fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Stream

MOST_PORT_BITS = 64

Words = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]


@dataclass(frozen=True)
class Port:
    """A stream at the border: `lanes` elements a word, each in `element_bits`, the first in the lowest bits.

    An element is its code, a bipolar one the bit that stands for it. A beat of the stream is `parts` words.
    """

    stream: Stream
    element_bits: int
    lanes: int

    @classmethod
    def of(cls, stream: Stream) -> Port:
        beat = stream.beat
        element_bits = next(bits for bits in (8, 16, 32, 64) if beat.bits <= bits)
        lanes = MOST_PORT_BITS // element_bits
        while beat.lanes % lanes:
            lanes //= 2
        return cls(stream, element_bits, lanes)

    @property
    def bits(self) -> int:
        """Bits of a word: 8, 16, 32 or 64."""
        return self.element_bits * self.lanes

    @property
    def parts(self) -> int:
        return self.stream.beat.lanes // self.lanes

    @property
    def words(self) -> int:
        """Words of an image."""
        return self.stream.beats * self.parts

    def pack(self, codes: NDArray[np.int64]) -> Words:
        """Return the words [images, words] of codes [images, elements] in stream order."""
        fields = (codes + 1) >> 1 if self.stream.beat.bipolar else codes
        elements = np.ascontiguousarray(fields.astype(f"<i{self.element_bits // 8}"))
        words: Words = elements.view(f"<u{self.bits // 8}").reshape(len(codes), self.words)
        return words

    def unpack(self, words: Words) -> NDArray[np.int64]:
        """Return the codes [images, elements] in stream order that words [images, words] carry."""
        beat = self.stream.beat
        kind = "i" if beat.signed else "u"
        codes = np.ascontiguousarray(words).view(f"<{kind}{self.element_bits // 8}").astype(np.int64)
        return 2 * codes - 1 if beat.bipolar else codes
