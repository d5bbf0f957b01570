"""Pieces of Markdown that several generated pages are made of."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

_SCALARS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers"}
_DOCTEST = re.compile(r"\n\n>>>.*", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown without a bar or a line's end of their own."""
    lines = [" | ".join(head), "|".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def cell(text: str) -> str:
    """Return the text as one cell of a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def prose(thing: object) -> str:
    """Return the docstring as Markdown, without its example."""
    return _DOCTEST.sub("", "\n\n" + inspect.cleandoc(getattr(thing, "__doc__", None) or "")).strip()


def fields_table(kind: type, prefix: str = "") -> str:
    """Return a row for each field of a dataclass: name, what it takes, its default."""
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    rows = [
        (f"`{prefix}{field.name}`", cell(shown_type(hints[field.name])), cell(_default(field)))
        for field in dataclasses.fields(kind)
    ]
    return table(("key", "value", "default"), rows)


def shown_type(kind: Any) -> str:
    """Return what a field takes in words of TOML."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(shown_type(part) for part in arguments if part is not type(None)))
    if origin is typing.Literal:
        return " or ".join(_value(part) for part in arguments)
    if origin is tuple:
        return f"list of {_PLURALS.get(arguments[0]) or shown_type(arguments[0])}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(_value(member) for member in kind)
    if dataclasses.is_dataclass(kind):
        return f"table `{getattr(kind, '__name__', kind)}`"
    return _SCALARS.get(kind, str(kind))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return "" if field.default is None else _value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _value(field.default_factory())
    return "must be given"


def _value(value: object) -> str:
    """Return a value as TOML would write it."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "none" if not value else f"`{list(value)}`"
    if dataclasses.is_dataclass(value):
        return "that table's defaults"
    return f"`{value}`"
