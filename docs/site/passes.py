"""The options of every pass, out of the dataclasses that project files are read into."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

from bitkiln.passes import PASSES, Pass

from .markdown import fields_table, prose, shown_type


def page() -> str:
    """Return a section for each pass, and below it one for each kind of table that its options take."""
    return "\n\n".join(part for kind in PASSES for part in _section(kind))


def _section(kind: type[Pass]) -> Iterator[str]:
    yield f"## `{kind.name}`"
    yield prose(kind)
    takes = ", ".join(sorted(weights.value for weights in kind.takes))
    makes = f" Makes them {kind.makes.value}." if kind.makes else ""
    yield f"Keeps {kind.keeps.value}. Takes weights that are {takes}.{makes}"
    if not dataclasses.fields(kind):
        yield "It has no options."
        return
    yield fields_table(kind)
    for name, entry in _entries(kind):
        yield f"An entry of `{name}` is a {shown_type(entry)}. {prose(entry)}"
        yield fields_table(entry)


def _entries(kind: type[Pass]) -> Iterator[tuple[str, type]]:
    """Options that are lists of tables, with the dataclass of these."""
    for name, hint in typing.get_type_hints(kind).items():
        arguments = typing.get_args(hint)
        if typing.get_origin(hint) is tuple and arguments and dataclasses.is_dataclass(arguments[0]):
            assert isinstance(arguments[0], type)
            yield name, arguments[0]
