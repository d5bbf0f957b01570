"""Frozen dataclasses to and from plain data (JSON, TOML), by their type annotations.

One reader serves ops, plans and project files: unknown keys and wrong types are errors that name the place and the
known keys.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any, TypeVar

from .diagnostics import ToolError, fail, known_names
from .numbers import Bipolar, Codebook, Float, Int, Ternary, parse_number

_NUMBERS = (Float, Int, Bipolar, Ternary, Codebook)
T = TypeVar("T")


def to_plain(value: object) -> Any:
    """Return `value` as dicts, lists, strings and numbers; fields that hold their default are left out."""
    if isinstance(value, _NUMBERS):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], plain: object, where: str) -> T:
    """Build a `kind` from plain data. `where` names the place for messages, e.g. `project.toml [data]`."""
    result: T = _read(kind, plain, where)
    return result


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(field.default_factory() == value)
    return field.default is not dataclasses.MISSING and bool(field.default == value)


def _read(kind: Any, plain: object, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(typing.get_args(kind), plain, where)
    if origin is tuple:
        return _read_tuple(typing.get_args(kind), plain, where)
    if origin is typing.Literal:
        return _read_choice(typing.get_args(kind), plain, where)
    if kind in _NUMBERS:
        return _read_number(kind, plain, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = {member.value: member for member in kind}
        return choices[_read_choice(tuple(choices), plain, where)]
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, plain, where)
    return _read_scalar(kind, plain, where)


def _read_scalar(kind: Any, plain: object, where: str) -> Any:
    if kind is type(None) and plain is None:
        return None
    if kind is float and isinstance(plain, int | float) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError:
            raise _wrong("number that fits in 64-bit floating point", plain, where) from None
    if isinstance(kind, type) and isinstance(plain, kind) and (kind is bool or not isinstance(plain, bool)):
        return plain
    raise _wrong(_kind_name(kind), plain, where)


def _read_choice(choices: tuple[Any, ...], plain: object, where: str) -> Any:
    if any(type(plain) is type(choice) and plain == choice for choice in choices):
        return plain
    raise fail(
        "bad-value",
        f"{where}: {_shown(plain)} is not one of the known values",
        hint=known_names(_shown(plain).strip("'"), map(str, choices)),
    )


def _read_number(kind: Any, plain: object, where: str) -> Any:
    if isinstance(plain, str):
        try:
            number = parse_number(plain)
        except ToolError as error:
            raise error.prefixed(where) from None
        if isinstance(number, kind):
            return number
    raise _wrong(f"{kind.__name__} number format", plain, where)


def _read_union(kinds: tuple[Any, ...], plain: object, where: str) -> Any:
    if plain is None and type(None) in kinds:
        return None
    error: ToolError | None = None
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _read(kind, plain, where)
        except ToolError as caught:
            error = error or caught
    assert error is not None
    raise error


def _read_tuple(kinds: tuple[Any, ...], plain: object, where: str) -> tuple[Any, ...]:
    if not isinstance(plain, list | tuple):
        raise _wrong("list", plain, where)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_read(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(plain))
    if len(plain) != len(kinds):
        raise _wrong(f"list of {len(kinds)}", plain, where)
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, plain, strict=True)))


def _read_dataclass(kind: Any, plain: object, where: str) -> Any:
    if not isinstance(plain, dict):
        raise _wrong("table", plain, where)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in plain:
        if key not in fields:
            shown = str(key)[:80]
            raise fail("unknown-key", f"{where}: unknown key {shown!r}", hint=known_names(shown, fields))
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in plain:
            values[name] = _read(hints[name], plain[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise fail("missing-key", f"{where}: the key {name!r} is missing")
    try:
        return kind(**values)
    except ToolError as error:
        raise error.prefixed(where) from None


def _wrong(expected: str, plain: object, where: str) -> ToolError:
    return fail("bad-value", f"{where}: expected {expected}, not {_shown(plain)}")


def _shown(plain: object) -> str:
    """The value for messages; of lists and tables only what they are, since they may be long and deep."""
    match plain:
        case dict():
            return "a table"
        case list() | tuple():
            return f"a list of {len(plain)}"
        case None:
            return "null"
        case bool():
            return str(plain).lower()
        case _:
            return repr(plain)[:80]


def _kind_name(kind: Any) -> str:
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        getattr(kind, "__name__", ""), str(kind)
    )
