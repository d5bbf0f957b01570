"""Integer thresholds of a function: where a chain of float operations and a quantiser, as one, step up or down.

The search asks the function itself, so scales, batch norm, activation and rounding need no formulas of their own and
no decision differs from theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bitkiln.ir.ops import MultiThreshold, QuantiseScaled

from ._chains import Chain, Step

MAX_LEVELS = 1 << 12  # a quantiser of 12 bits; beyond, thresholds take more memory than they save
MAX_ENTRIES = 1 << 24
MAX_TABLE = 1 << 20  # arguments of functions that are not known to be monotone

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
        return _search(lambda codes: function(codes.to(torch.float64)), channels, low, high, quantiser)
    if high - low >= MAX_TABLE or (high - low) * channels > MAX_ENTRIES:
        return None
    every = torch.arange(low, high + 1, dtype=torch.float64)[:, None].expand(-1, channels)
    change = function(every).diff(dim=0)
    if not bool(((change >= 0).all(0) | (change <= 0).all(0)).all()):
        return None
    return _search(lambda codes: function(codes.to(torch.float64)), channels, low, high, quantiser)


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


def _search(function: _Function, channels: int, low: int, high: int, quantiser: Step) -> Steps | None:
    """For each level the first argument that reaches it, by bisection in all channels at once."""
    ends = function(torch.tensor([low, high])[:, None].expand(-1, channels))
    quantum = _quantum(quantiser)
    least, most = int(ends.min()), int(ends.max())
    levels = (most - least) // quantum
    if levels > MAX_LEVELS or levels * channels > MAX_ENTRIES:
        return None
    is_rising = ends[1] >= ends[0]
    if levels == 0:  # a constant function has one threshold, which is never reached
        levels, is_rising = 1, torch.full((channels,), least + quantum <= _highest(quantiser))
    distance = torch.arange(1, levels + 1)[:, None] * quantum
    first, last = torch.full((levels, channels), low), torch.full((levels, channels), high + 1)
    while bool((first < last).any()):
        middle = (first + last) // 2
        codes = function(middle.clamp(max=high))
        reached = torch.where(is_rising, codes >= least + distance, codes <= most - distance) & (middle <= high)
        first, last = torch.where(reached, first, (middle + 1).minimum(last)), torch.where(reached, middle, last)
    base = [least if rises else most for rises in is_rising.tolist()]
    step = [quantum if rises else -quantum for rises in is_rising.tolist()]
    return Steps(first.t().contiguous(), _once(base), _once(step))


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
