"""Programs that come from a file: torch's own shape rules must give the shapes that the file claims.

After this check the rules of the table can trust ranks and sizes, and constant folding cannot be made to run wild.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bitkiln.ir import Location

from ._program import Argument, Call, Program, Ref, Shape, bad_program, input_names

_OVERLOAD = re.compile(r"aten\.([A-Za-z0-9_]{1,80})\.([A-Za-z0-9_]{1,80})")
_LARGEST = 1 << 31  # elements of a tensor; more than any layer of a network has

# What torch's shape rules raise for arguments that do not fit.
_MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


def overload(target: str) -> Any | None:
    """Return torch's operation `aten.conv2d.default`, or None if there is no such ATen operation."""
    match = _OVERLOAD.fullmatch(target)
    if match is None:
        return None
    try:
        return getattr(getattr(torch.ops.aten, match[1]), match[2])
    except AttributeError:
        return None


def executable(target: str) -> Any | None:
    """Return what to call for an operation. A view is a reshape: it fails or not by strides, which kernels choose."""
    is_view = target in ("aten.view.default", "aten._unsafe_view.default")
    return overload("aten.reshape.default" if is_view else target)


def check_program(program: Program) -> None:
    """Raise ToolError `bad-program` at the first call whose arguments or results are not what torch says."""
    values: dict[str, Tensor] = {}
    for value in program.inputs:
        _check_size(value.shape, Location())
        values[value.name] = torch.empty(value.shape, dtype=value.dtype, device="meta")
    for leaf in program.leaves:
        values[leaf.name] = torch.empty_strided(
            leaf.data.shape, leaf.data.stride(), dtype=leaf.data.dtype, device="meta"
        )
    read = {*program.outputs, *(name for call in program.calls for name in input_names(call))}
    for call in program.calls:
        _check_call(call, values, read)
    for name in program.outputs:
        if name not in values:
            raise bad_program(f"the output {name} is not defined", Location())


def _check_call(call: Call, values: dict[str, Tensor], read: set[str]) -> None:
    """Define the call's results; the shapes of those that nothing reads may be anything."""
    for name in input_names(call):
        if name not in values:
            raise bad_program(f"{call.target} reads {name}, which is not defined before it", call.loc)
    for name, shape, result in zip(call.results, call.shapes, _results(call, values), strict=False):
        if name in read and tuple(result.shape) != shape:
            raise bad_program(
                f"{call.target} gives shape {list(result.shape)}, but the program says {list(shape)}", call.loc
            )
        if name in values:
            raise bad_program(f"{call.target} defines {name} again", call.loc)
        if name:
            values[name] = result


def _results(call: Call, values: Mapping[str, Tensor]) -> list[Tensor]:
    """Results without data. An operation that torch does not know is taken at its word: the table refuses it."""
    for shape in call.shapes:
        _check_size(shape, call.loc)
    found = overload(call.target)
    if found is None:
        return [torch.empty(shape, device="meta") for shape in call.shapes]
    _check_pieces(call, values)
    positional, keywords = [], {}
    for argument in found._schema.arguments:
        value = _without_data(call.arguments[argument.name], values)
        if argument.name == "device":
            value = torch.device("meta")
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            positional.append(value)
    run = executable(call.target)
    assert run is not None
    try:
        with torch.no_grad():
            result = run(*positional, **keywords)
    except _MISFITS as error:
        message = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise bad_program(f"{call.target} does not fit its arguments: {message}", call.loc) from None
    results = list(result) if isinstance(result, list | tuple) else [result]
    results = [item for item in results if isinstance(item, Tensor)]
    if len(results) < len(call.results):
        raise bad_program(f"{call.target} gives {len(results)} results, not {len(call.results)}", call.loc)
    return results


def _without_data(argument: Argument, values: Mapping[str, Tensor]) -> object:
    if isinstance(argument, Ref):
        return values[argument.name]
    if isinstance(argument, tuple):
        return [_without_data(item, values) for item in argument]
    return argument


def _check_size(shape: Shape, loc: Location) -> None:
    if min(shape, default=1) < 0 or math.prod(shape) > _LARGEST or max(shape, default=1) > _LARGEST:
        raise bad_program(f"a tensor of shape {list(shape)} is impossible", loc)


def _check_pieces(call: Call, values: Mapping[str, Tensor]) -> None:
    """An operation that cuts a tensor up must not cut it into more pieces than the program names."""
    packet = call.target.split(".")[1]
    subject = call.arguments.get("self")
    if packet not in ("split", "unsafe_split", "unbind", "chunk") or not isinstance(subject, Ref):
        return
    size = call.arguments.get("split_size", 1)
    longest = max(values[subject.name].shape, default=1)
    pieces = call.arguments.get("chunks", longest)
    if not isinstance(size, int) or not isinstance(pieces, int) or size < 1:
        raise bad_program(f"{call.target} cuts into pieces of {size}", call.loc)
    if min(longest // size, pieces) > 100_000:
        raise bad_program(f"{call.target} cuts a tensor into {longest // size} pieces", call.loc)
