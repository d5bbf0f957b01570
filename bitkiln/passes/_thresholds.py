"""Integer thresholds of a function: where a chain of float operations and a quantiser, as one, step up or down.

The search asks the function itself, so scales, batch norm, activation and rounding need no formulas of their own and
no decision differs from theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bitkiln.ir.ops import Clip, MultiThreshold, QuantiseScaled, Relu, Rounding

from ._chains import AFFINE, Chain, Step, affine

MAX_LEVELS = 1 << 12  # a quantiser of 12 bits; beyond, thresholds take more memory than they save
MAX_ENTRIES = 1 << 24
MAX_TABLE = 1 << 20  # arguments of functions that are not known to be monotone

_HALVES = (Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.HALF_DOWN)

# float32 numbers in order are whole numbers in order: their bits, for the negative ones counted downwards.
_FLOAT_LIMIT = 0x7F7FFFFF  # the bits of the largest number


@dataclass(frozen=True, eq=False)
class Steps:
    """`thresholds` [channels, n] with base and step as `MultiThreshold` takes them."""

    thresholds: Tensor
    base: tuple[int, ...]
    step: tuple[int, ...]


# Codes [n, channels] of arguments [n, channels].
_Function = Callable[[Tensor], Tensor]


def integer_steps(chain: Chain, quantiser: Step, channels: int, low: int, high: int) -> Steps | None:
    """The thresholds among the codes low ... high of the chain's base; None if there are too many or the function
    goes up and down. Evaluated in 64-bit floats on exact codes; thresholds that are never reached are high + 1."""
    function = _function(chain, quantiser, channels, torch.float64)
    if all(step.is_monotone for step in (*chain.steps, quantiser)):
        return _search(function, channels, low, high, quantiser, chain)
    if high - low >= MAX_TABLE or (high - low) * channels > MAX_ENTRIES:
        return None
    every = torch.arange(low, high + 1, dtype=torch.float64)[:, None].expand(-1, channels)
    change = function(every).diff(dim=0)
    if not bool(((change >= 0).all(0) | (change <= 0).all(0)).all()):
        return None
    return _search(function, channels, low, high, quantiser)


def float_steps(chain: Chain, quantiser: Step, channels: int) -> Steps | None:
    """The same for a base of 32-bit floats, evaluated as they are; None if the function is not known to be monotone.
    Thresholds that are never reached are the largest number."""
    if not all(step.is_monotone for step in (*chain.steps, quantiser)):
        return None
    function = _function(chain, quantiser, channels, torch.float32)
    found = _search(lambda keys: function(_floats(keys)), channels, -_FLOAT_LIMIT, _FLOAT_LIMIT, quantiser)
    return found and Steps(_floats(found.thresholds.clamp(max=_FLOAT_LIMIT)), found.base, found.step)


def _floats(keys: Tensor) -> Tensor:
    """The 32-bit floats at these places in their order."""
    magnitudes = keys.abs().to(torch.int32).view(torch.float32)
    return torch.where(keys < 0, -magnitudes, magnitudes)


def _function(chain: Chain, quantiser: Step, channels: int, dtype: torch.dtype) -> _Function:
    axis = max((chain.then(quantiser).channel_axis or 0), 1)
    shape = [-1, *[1] * (chain.rank - 1)]
    shape[axis] = channels

    def function(x: Tensor) -> Tensor:
        codes = quantiser(chain(x.to(dtype).reshape(shape)))
        return codes.reshape(x.shape)

    return function


def _search(
    function: _Function, channels: int, low: int, high: int, quantiser: Step, chain: Chain | None = None
) -> Steps | None:
    """For each level the first argument that reaches it, in all channels at once; `chain` helps to guess where."""
    ends = function(torch.tensor([low, high])[:, None].expand(-1, channels))
    quantum = _quantum(quantiser)
    least, most = int(ends.min()), int(ends.max())
    count = (most - least) // quantum
    if count > MAX_LEVELS or count * channels > MAX_ENTRIES:
        return None
    is_rising = ends[1] >= ends[0]
    if count == 0:  # a constant function has one threshold, which is never reached
        count, is_rising = 1, torch.full((channels,), least + quantum <= _highest(quantiser))
    distance = torch.arange(1, count + 1)[:, None] * quantum
    levels = torch.where(is_rising, least + distance, most - distance)

    def reaches(x: Tensor, rows: Tensor) -> Tensor:
        codes = function(x.clamp(low, high))
        return torch.where(is_rising, codes >= levels[rows], codes <= levels[rows]) & (x <= high)

    first, last = torch.full((count, channels), low), torch.full((count, channels), high + 1)
    guess = _guess(chain, quantiser, channels, levels, is_rising) if chain is not None else None
    if guess is not None:
        rows = torch.arange(count)
        near = (guess - 2).clamp(low, high + 1), (guess + 2).clamp(low, high + 1)
        is_below, is_above = (near[0] > low) & ~reaches(near[0], rows), reaches(near[1], rows)
        first, last = torch.where(is_below, near[0] + 1, first), torch.where(is_above, near[1], last)
    found = _bisect(reaches, first, last)
    base = [least if rises else most for rises in is_rising.tolist()]
    step = [quantum if rises else -quantum for rises in is_rising.tolist()]
    return Steps(found.t().contiguous(), _once(base), _once(step))


def _bisect(reaches: Callable[[Tensor, Tensor], Tensor], first: Tensor, last: Tensor) -> Tensor:
    """The first argument from `first` on that reaches its level; `last` does, or lies behind all arguments."""
    rows = torch.arange(len(first))
    while len(rows := rows[(first[rows] < last[rows]).any(1)]):
        start, stop = first[rows], last[rows]
        middle = (start + stop) // 2
        is_reached = reaches(middle, rows)
        first[rows] = torch.where(is_reached, start, (middle + 1).minimum(stop))
        last[rows] = torch.where(is_reached, middle, stop)
    return first


def _guess(chain: Chain, quantiser: Step, channels: int, levels: Tensor, is_rising: Tensor) -> Tensor | None:
    """Where an affine chain, with or without a limit behind it, should reach each level; None for other chains."""
    steps = list(chain.steps)
    while steps and isinstance(steps[-1].op, Relu | Clip):
        steps.pop()
    op = quantiser.op
    if not isinstance(op, QuantiseScaled) or not all(isinstance(step.op, AFFINE) for step in steps):
        return None
    axis = max((chain.then(quantiser).channel_axis or 0), 1)
    shape = tuple(channels if i == axis else 1 for i in range(chain.rank))
    factor, offset = (data.reshape(-1) for data in affine(steps, shape))
    half = torch.where(is_rising, -0.5, 0.5) if op.rounding in _HALVES else torch.zeros(())
    values = (levels.to(torch.float64) + half) * torch.tensor(op.scale, dtype=torch.float64) * 2.0**op.truncate
    places = torch.ceil((values - offset) / factor)
    return torch.where(torch.isfinite(places), places, 0).clamp(-(2.0**62), 2.0**62).to(torch.int64)


def _quantum(quantiser: Step) -> int:
    """The distance between the codes that a quantiser can give."""
    if isinstance(quantiser.op, MultiThreshold):
        sizes = {abs(step) for step in quantiser.op.step}
        return sizes.pop() if len(sizes) == 1 and len(quantiser.op.base) == 1 else 1
    return 1


def _highest(quantiser: Step) -> int:
    assert isinstance(quantiser.op, MultiThreshold | QuantiseScaled)
    return quantiser.op.number.hi


def _once(values: list[int]) -> tuple[int, ...]:
    return (values[0],) if len(set(values)) == 1 else tuple(values)
