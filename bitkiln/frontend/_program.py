"""A traced program, whichever door it came through: ATen calls in order, their arguments named and complete.

The torch door and the `.pt2` door both end here, so that one table of operations serves them and they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitkiln.ir import Location, ToolError, fail

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ref:
    """An argument that is a value of the program."""

    name: str


Plain = None | bool | int | float | str | torch.dtype | torch.device | torch.layout | torch.memory_format
Argument = Plain | Ref | tuple["Argument", ...]


@dataclass(frozen=True)
class ProgramInput:
    name: str
    shape: Shape
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Leaf:
    """A tensor the program starts with; `path` is its dotted name in the model. A view, never a copy."""

    name: str
    path: str
    data: Tensor
    is_parameter: bool


@dataclass(frozen=True)
class Call:
    """One ATen call. `target` is `aten.conv2d.default`; `scope` is the path of the module that makes it, and
    `is_layer` says that the module is one of torch's own layers: its value is then called as the module is.

    `results` are the program values it defines and `shapes` their shapes, as the exporter found them; an unused
    result has an empty name.
    """

    target: str
    scope: str
    is_layer: bool
    arguments: Mapping[str, Argument]
    results: tuple[str, ...]
    shapes: tuple[Shape, ...]
    loc: Location


@dataclass(frozen=True, eq=False)
class Program:
    name: str
    inputs: tuple[ProgramInput, ...]
    leaves: tuple[Leaf, ...]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Elements of the model's parameters, each tensor once however often it is used."""
        sizes = {
            (leaf.data.data_ptr(), leaf.data.shape, leaf.data.stride()): leaf.data.numel()
            for leaf in self.leaves
            if leaf.is_parameter
        }
        return sum(sizes.values())


def refs(argument: Argument) -> Iterable[str]:
    """Names of the program values inside an argument."""
    if isinstance(argument, Ref):
        yield argument.name
    elif isinstance(argument, tuple):
        for item in argument:
            yield from refs(item)


def input_names(call: Call) -> tuple[str, ...]:
    """Names of the program values that a call reads."""
    return tuple(name for argument in call.arguments.values() for name in refs(argument))


def complete(schema: Any, given: Mapping[str, Argument], loc: Location) -> dict[str, Argument]:
    """Fill in the schema's defaults, in the schema's order; a required argument that is missing is `bad-program`."""
    arguments: dict[str, Argument] = {}
    for argument in schema.arguments:
        if argument.name in given:
            arguments[argument.name] = given[argument.name]
        elif argument.has_default_value():
            arguments[argument.name] = as_argument(argument.default_value)
        else:
            raise bad_program(f"{schema.name} needs the argument {argument.name!r}", loc)
    return arguments


def as_argument(value: object) -> Argument:
    """Read a schema's default value or a literal of an exported node."""
    if isinstance(value, list | tuple):
        return tuple(as_argument(item) for item in value)
    plain = (bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format)
    if value is None or isinstance(value, plain):
        return value
    raise fail("dynamic-shape", f"an argument is {str(value)[:80]!r}, which is known only at run time")


def bad_program(message: str, loc: Location) -> ToolError:
    """A program that torch.export cannot have written."""
    return fail("bad-program", message, loc, "save the program again with torch.export.save")
