"""Puts generated Markdown where a page says `<!-- generated: NAME -->`: what `page()` of the module NAME returns."""

from __future__ import annotations

import re
from importlib import import_module

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def filled(text: str) -> str:
    """Return the page with its generated parts. Modules are imported when a page asks for them: some need torch."""
    return _MARK.sub(lambda found: str(import_module(f"docs.site.{found[1]}").page()), text)
