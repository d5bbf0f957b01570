"""Compute what does not depend on the input: shift masks, position indices, standardised weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bitkiln.ir import fail

from ._program import Argument, Call, Ref, bad_program

_LIMIT_ELEMENTS = 1 << 28  # a gigabyte of floats: more than any model computes, less than a bad file could ask for


def fold(call: Call, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the results of a call whose operands are all in `known`. Every ATen operation may be asked for: it must
    be functional, without randomness, and of bounded size."""
    overload = _overload(call)
    if any(_elements(shape) > _LIMIT_ELEMENTS for shape in call.shapes):
        raise bad_program(f"{call.target} would compute a constant of {list(call.shapes[0])}", call.loc)
    positional, keywords = [], {}
    for argument in overload._schema.arguments:
        value = _plain(call.arguments[argument.name], known)
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            positional.append(value)
    with torch.no_grad():
        try:
            result = overload(*positional, **keywords)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise bad_program(f"{call.target} cannot be computed: {str(error)[:200]}", call.loc) from None
    return tuple(result) if isinstance(result, list | tuple) else (result,)


def _overload(call: Call) -> Any:
    namespace, name, overload = call.target.split(".")
    if namespace != "aten" or name.endswith("_"):
        raise fail("unsupported-op", f"{call.target} cannot be computed at import", call.loc)
    found = getattr(getattr(torch.ops.aten, name), overload)
    if torch.Tag.nondeterministic_seeded in found.tags:
        raise fail("unsupported-op", f"{call.target} is random", call.loc, "store the random values in a buffer")
    return found


def _plain(argument: Argument, known: Mapping[str, Tensor]) -> object:
    if isinstance(argument, Ref):
        return known[argument.name]
    if isinstance(argument, tuple):
        return [_plain(item, known) for item in argument]
    return argument


def _elements(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
