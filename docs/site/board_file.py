"""Every field of a board's description, out of its dataclasses."""

from __future__ import annotations

from bitkiln.boards import ProcessorSystem, Resources, SerialTop, VendorBoard
from bitkiln.boards.board import Board, Family, Loader, Resource, SerialPins

from .markdown import fields_table, prose, table

KINDS = (Board, Resources, SerialPins, VendorBoard, ProcessorSystem, SerialTop)
CHOICES = (Family, Resource, Loader)


def page() -> str:
    """Return a section for each kind of description, and one for the choices."""
    fields = [f"## `{kind.__name__}`\n\n{prose(kind)}\n\n{fields_table(kind)}" for kind in KINDS]
    rows = [
        (f"`{choice.__name__}`", prose(choice).replace("\n", " "), ", ".join(f"`{member.name}`" for member in choice))
        for choice in CHOICES
    ]
    return "\n\n".join([*fields, f"## Choices\n\n{table(('name', 'what', 'members'), rows)}"])
