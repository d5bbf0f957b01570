"""The weights that a host writes into an accelerator, as bytes: what host programs need to know of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .protocol import CHUNK_BYTES


@dataclass(frozen=True)
class WeightSet:
    """What the host writes: for each unit that takes weights its memories, in columns of 16 bits; whole chunks."""

    data: bytes

    def __post_init__(self) -> None:
        assert len(self.data) % CHUNK_BYTES == 0, len(self.data)

    @property
    def digest(self) -> bytes:
        """SHA-256, by which the host knows which weights a chip holds."""
        return hashlib.sha256(self.data).digest()

    @property
    def chunks(self) -> tuple[bytes, ...]:
        return tuple(self.data[start : start + CHUNK_BYTES] for start in range(0, len(self.data), CHUNK_BYTES))
