"""What the commands show a person: progress on a terminal, results and errors; machines get JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bitkiln.ir import Diagnostic, Severity, fail

_FILE_WIDTH = 240


class _Messages(Console):
    """Standard error; when nobody reads it any more, the work goes on."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _discard(sys.stderr)


class _Results(Console):
    """Standard output; a file or pipe has no width that tables would have to be broken for."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True, emoji=False)
        if not self.is_terminal:
            self.width = _FILE_WIDTH

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _discard(stream: TextIO) -> None:
    """Let what is still to be written to the stream vanish."""
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


@dataclass
class Terminal:
    """Everything but results goes to standard error; `is_json` says that the result is for a machine."""

    is_json: bool
    console: Console = field(default_factory=_Messages)
    output: Console = field(default_factory=_Results)
    _progress: Progress | None = None

    def result(self, plain: object, *shown: Table | str) -> None:
        """Print the result: `plain` as JSON for machines, else what is `shown`.

        A reader that stops early is no error. Raises ToolError `cannot-write`.
        """
        try:
            if self.is_json:
                self.output.file.write(json.dumps(plain, indent=1, sort_keys=True) + "\n")
            else:
                for item in shown:
                    self.output.print(item, markup=False)
            self.output.file.flush()
        except BrokenPipeError:
            _discard(sys.stdout)
        except OSError as error:
            _discard(sys.stdout)
            raise fail("cannot-write", f"cannot write to standard output: {error.strerror}") from None

    def say(self, text: str) -> None:
        """Tell a person something on standard error."""
        self.console.print(text, markup=False)

    def errors(self, diagnostics: Sequence[Diagnostic], exit_code: int) -> None:
        """Say what went wrong on standard error, and for machines as JSON on standard output as well."""
        if self.is_json:
            self.result({"errors": [diagnostic.to_plain() for diagnostic in diagnostics], "exit_code": exit_code})
        for diagnostic in diagnostics:
            style = "bold red" if diagnostic.severity is Severity.ERROR else "bold yellow"
            head, _, rest = str(diagnostic).partition(": ")
            self.console.print(head, style=style, end=": ", markup=False)
            self.console.print(rest, markup=False)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a bar with the time it took, and the time left once that is known; only on a terminal."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            self._progress = progress
            progress.add_task(name, total=None, left="")
            try:
                yield
            finally:
                self._progress = None

    def progress(self, label: str, fraction: float) -> None:
        """Move the bar of the running step; a fraction of 0 starts it anew."""
        if self._progress is not None:
            task = self._progress.task_ids[-1]
            if not fraction:
                self._progress.reset(task, total=None, description=label, left="")
            else:
                left = "left:" if fraction < 1 else ""
                self._progress.update(task, description=label, completed=fraction, total=1.0, left=left)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a plain table; numbers are set to the right. Without any name of a column there is no head."""
    result = Table(
        title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns), header_style="bold"
    )
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        result.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        result.add_row(*map(_cell, row))
    return result


def _cell(cell: object) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text(f"{cell:,}" if isinstance(cell, int) else str(cell))


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Give a list that holds the seconds of the block when it is over."""
    seconds: list[float] = []
    start = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - start)
