"""What the commands show a person: progress on a terminal, results and errors; machines get JSON on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bitkiln.ir import Diagnostic, Severity

_FILE_WIDTH = 240


def _console_for_results() -> Console:
    """Standard output; a file or pipe has no width that tables would have to be broken for."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _FILE_WIDTH)


@dataclass
class Terminal:
    """Everything but results goes to standard error; `is_json` says that the result is for a machine."""

    is_json: bool
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    output: Console = field(default_factory=_console_for_results)
    _progress: Progress | None = None

    def result(self, plain: object, *shown: Table | str) -> None:
        """Print the result: `plain` as JSON for machines, else what is `shown`."""
        if self.is_json:
            sys.stdout.write(json.dumps(plain, indent=1, sort_keys=True) + "\n")
            return
        for item in shown:
            self.output.print(item, markup=False) if isinstance(item, str) else self.output.print(item)

    def say(self, text: str) -> None:
        """Tell a person something on standard error."""
        self.console.print(text, markup=False)

    def errors(self, diagnostics: Sequence[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            style = "bold red" if diagnostic.severity is Severity.ERROR else "bold yellow"
            head, _, rest = str(diagnostic).partition(": ")
            self.console.print(head, style=style, end=": ", markup=False, soft_wrap=True)
            self.console.print(rest, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a bar with the elapsed time while the block runs; only on a terminal."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            self._progress = progress
            progress.add_task(name, total=None)
            try:
                yield
            finally:
                self._progress = None

    def progress(self, label: str, fraction: float) -> None:
        """Move the bar of the running step; a fraction of 0 starts it anew."""
        if self._progress is not None:
            task = self._progress.task_ids[-1]
            self._progress.update(task, description=label, completed=fraction, total=1.0 if fraction else None)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a plain table; numbers are set to the right."""
    result = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        result.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        result.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return result


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Give a list that holds the seconds of the block when it is over."""
    seconds: list[float] = []
    start = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - start)
