"""What a person sees: bars while steps run, tables, text that is shown as it is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bitkiln.frontend.terminal import Terminal, stopwatch, table
from bitkiln.ir import Diagnostic, Location, Severity


def on_a_terminal() -> tuple[Terminal, io.StringIO]:
    screen = io.StringIO()
    return Terminal(False, console=Console(file=screen, force_terminal=True, width=80, color_system=None)), screen


def test_a_step_shows_its_progress_on_a_terminal() -> None:
    terminal, screen = on_a_terminal()
    with terminal.step("compress"):
        terminal.progress("calibrate", 0)
        terminal.progress("tune", 0.5)
    assert "tune" in screen.getvalue()
    terminal.progress("later", 0.5)  # after the step there is no bar
    assert "later" not in screen.getvalue()


def test_no_bar_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(False)
    with terminal.step("compress"):
        terminal.progress("calibrate", 0.5)
    assert capsys.readouterr() == ("", "")


def test_a_step_that_fails_leaves_no_bar() -> None:
    terminal, screen = on_a_terminal()
    with pytest.raises(ZeroDivisionError), terminal.step("compress"):
        raise ZeroDivisionError
    terminal.say("ended")
    assert screen.getvalue().endswith("ended\n")


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("conv[red]", 1234, "[/]"), ("fc", 7, "x" * 100)]
    Terminal(False).result(None, table("net", ("name", "macs", "place"), rows), "[bold]done")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "net",
        "name        macs  place",
        "conv[red]  1,234  [/]",
        f"fc             7  {'x' * 100}",
        "[bold]done",
    ]


def test_tables_without_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(False).result(None, table("", ("", ""), [("energy", "3 nJ")]))
    assert capsys.readouterr().out.rstrip() == "energy  3 nJ"


def test_errors_are_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = Diagnostic("not-finite", "[b]" + "long " * 40, Location("model.py", 3, "body"), "help [i]me")
    Terminal(False).errors([found, Diagnostic("odd", "strange", severity=Severity.WARNING)])
    assert capsys.readouterr().err == f"{found}\nwarning[odd]: strange\n"


def test_stopwatch() -> None:
    with stopwatch() as seconds:
        pass
    assert 0 <= seconds[0] < 60
