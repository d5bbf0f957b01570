"""When a harness offers input beats and accepts output beats; the compiled harness and cocotb follow the same rules.

A run starts with RESET_CYCLES cycles of reset; the cycle after them is number 0. In each cycle one number is drawn
from xorshift32 (`x ^= x << 13; x ^= x >> 17; x ^= x << 5`, modulo 2^32), whatever the streams do, so a decision
follows from the seed and the cycle alone:

- the source offers its next beat if bits 31..24 of the number are below `valid_per_256`, and then holds valid and
  payload until the beat is accepted; while it offers none, every bit of its payload is 1;
- the sink is ready if bits 23..16 are below `ready_per_256`.

A beat is accepted in a cycle in which valid and ready are both high at the rising edge that ends it. The run ends with
the cycle in which the last beat is accepted; in the DRAIN_CYCLES after it no further output may come.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitkiln.ir import fail

RESET_CYCLES = 2
DRAIN_CYCLES = 64


@dataclass(frozen=True)
class Flow:
    """How readily the source offers (`valid_per_256`) and the sink accepts (`ready_per_256`): 256 is always.

    The probabilities are 1 to 256 in 256; `seed` is 1 to 2^32 - 1. Raises `wrong-flow`.

        Flow(seed=7, valid_per_256=128, ready_per_256=64)  # random back-pressure on both sides
    """

    seed: int = 1
    valid_per_256: int = 256
    ready_per_256: int = 256

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("seed", self.seed, 2**32 - 1),
            ("valid_per_256", self.valid_per_256, 256),
            ("ready_per_256", self.ready_per_256, 256),
        ):
            if not 1 <= value <= limit:
                raise fail("wrong-flow", f"{name} must be between 1 and {limit}, not {value}")

    @property
    def first_state(self) -> int:
        """The generator's state before the first draw.

        The seed is spread over all bits (the factor is odd, so no seed becomes 0): the first numbers after a small
        state are small too.
        """
        return self.seed * 0x9E3779B1 % 2**32


ALWAYS = Flow()
"""A source that always offers and a sink that is always ready."""
