"""What went wrong, where, and what to do about it.

Every mistake of a user ends as a `ToolError` that carries at least one `Diagnostic`; the CLI prints it and
exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum


class Severity(Enum):
    """An error stops the command; a warning is only shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Location:
    """A place in the user's model: source file, line and dotted module path; unknown parts are empty (0)."""

    file: str = ""
    line: int = 0
    module: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        if self.module:
            return f"{place} ({self.module})" if place else self.module
        return place


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `slug` names its kind (`unsupported-op`); `hint` is the fix, where we know it."""

    slug: str
    message: str
    location: Location = Location()
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        lines = [f"{self.severity.value}[{self.slug}]: {self.message}"]
        if str(self.location):
            lines.append(f"  --> {self.location}")
        if self.hint:
            lines.append(f"  help: {self.hint}")
        return "\n".join(lines)

    def to_plain(self) -> dict[str, str | int]:
        """Return what `--json` prints of it."""
        place = self.location
        found: dict[str, str | int] = {"slug": self.slug, "severity": self.severity.value, "message": self.message}
        return found | {"file": place.file, "line": place.line, "module": place.module, "hint": self.hint}


class ToolError(Exception):
    """The user's input is wrong. Carries every Diagnostic that was found."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics

    def prefixed(self, where: str) -> ToolError:
        """Return the same findings, each message headed by the place that only the caller knows."""
        return ToolError(*(replace(finding, message=f"{where}: {finding.message}") for finding in self.diagnostics))


def fail(slug: str, message: str, location: Location = Location(), hint: str = "") -> ToolError:
    """Return a ToolError with one Diagnostic, to be raised by the caller."""
    return ToolError(Diagnostic(slug, message, location, hint))


def known_names(name: str, known: Iterable[str]) -> str:
    """Return a hint that lists the known names, the ones nearest to `name` first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}? Known: {', '.join(names)}"
    return f"known: {', '.join(names)}"
