"""Random arrays as networks have them: sparse, quantised, shared, constant, or with no pattern at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray


@st.composite
def elements(draw: DrawFn, width: int, most: int = 3000) -> NDArray[np.unsignedinteger[Any]]:
    """Flat unsigned elements of at most `width` bits in the smallest dtype."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, most))
    dtype = next(np.dtype(f"u{size}") for size in (1, 2, 4, 8) if 8 * size >= width)
    spread = min(width, draw(st.integers(0, width)))
    values = rng.integers(0, 1 << spread, count, dtype=np.uint64).astype(dtype)
    if draw(st.booleans()):
        values = (values[rng.integers(0, min(count, draw(st.integers(1, 300))), count)]).astype(dtype)
    values[rng.random(count) < draw(st.sampled_from([0, 0.5, 0.95, 0.999, 1]))] = draw(st.integers(0, (1 << width) - 1))
    return values
