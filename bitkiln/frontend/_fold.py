"""Compute what does not depend on the input: shift masks, position indices, standardised weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bitkiln.ir import fail

from ._check import executable, overload
from ._program import Argument, Call, Ref, bad_program

_LIMIT_ELEMENTS = 1 << 26  # more than any network computes, less than a bad file could ask for


def fold(call: Call, known: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], int]:
    """Return the results of a call whose operands are all in `known`, and its multiply-accumulates.

    Every ATen operation may be asked for: it must be functional, without randomness, and of bounded size.
    """
    found = _operation(call)
    if any(math.prod(shape) > _LIMIT_ELEMENTS for shape in call.shapes):
        raise bad_program(f"{call.target} would compute a constant of {list(call.shapes[0])}", call.loc)
    positional, keywords = [], {}
    for argument in found._schema.arguments:
        value = _plain(call.arguments[argument.name], known)
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            positional.append(value)
    run = executable(call.target)
    assert run is not None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        try:
            result = run(*positional, **keywords)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise bad_program(f"{call.target} cannot be computed: {str(error)[:200]}", call.loc) from None
    results = tuple(result) if isinstance(result, list | tuple) else (result,)
    return results, counter.get_total_flops() // 2


def _operation(call: Call) -> Any:
    found = overload(call.target)
    if found is None or found._schema.is_mutable:
        raise fail("unsupported-op", f"{call.target} cannot be computed at import", call.loc)
    if torch.Tag.nondeterministic_seeded in found.tags:
        raise fail("unsupported-op", f"{call.target} is random", call.loc, "store the random values in a buffer")
    return found


def _plain(argument: Argument, known: Mapping[str, Tensor]) -> object:
    if isinstance(argument, Ref):
        return known[argument.name]
    if isinstance(argument, tuple):
        return [_plain(item, known) for item in argument]
    return argument
