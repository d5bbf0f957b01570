"""Division of integer sums by a constant as multiply, round and shift: how average pooling ends in hardware."""

from __future__ import annotations

import math

from bitkiln.ir import fail

_MAX_FRAC = 64


def reciprocal(divisor: int, gain: int, largest: int) -> tuple[int, int]:
    """Return the least (multiplier, multiplier_frac) with which Requantise gives the rounded mean for every sum.

    For |sum| <= `largest`, (sum * multiplier + 2**(s-1)) >> s with s = multiplier_frac - `gain` is
    sum * 2**gain / divisor rounded to the nearest code. Halves go up; only for negative sums and a divisor that is no
    power of two they go away from zero, because no multiplier is right on both sides.

    With the multiplier 2**f / divisor rounded up, the product is too far from zero by |sum| * q / (divisor * 2**s),
    where q = -2**f mod divisor. An exact result is a multiple of 1 / parts, so it lies at least 1 / (2 * parts) from
    the next half (or on it, and then stays on its side): the least f whose excess is below that is enough.
    """
    parts = divisor // math.gcd(divisor, 1 << max(0, gain)) << max(0, -gain)
    for frac in range(_MAX_FRAC):
        shift, remainder = frac - gain, -(1 << frac) % divisor
        if remainder == 0 or (shift > 0 and 2 * parts * largest * remainder < divisor << shift):
            return -(-(1 << frac) // divisor), frac
    raise fail(
        "accumulator-too-wide",
        f"Division of sums up to {largest} by {divisor} needs a reciprocal of more than {_MAX_FRAC} bits",
    )
