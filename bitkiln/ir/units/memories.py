"""What memories that the host fills are made of, whatever holds them: columns of 16 bits, each written by itself.

So the link needs no register as wide as a word, and a column is what one large RAM of the iCE40 UP5K holds.
"""

from __future__ import annotations

COLUMN_BITS = 16
SPRAM_WORDS = 16384
"""Words of an SB_SPRAM256KA, of 16 bits each; a UP5K has four of them, with one port each and nothing to start from."""


def column_widths(width: int) -> tuple[int, ...]:
    """Return the bits of each column of a word of `width` bits, the lowest first."""
    return tuple(min(COLUMN_BITS, width - start) for start in range(0, width, COLUMN_BITS))


def spram_blocks(words: int, width: int) -> int:
    """Return how many large RAMs hold so many words and give one of them a cycle."""
    return len(column_widths(width)) * -(-words // SPRAM_WORDS)
