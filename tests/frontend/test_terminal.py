"""What a person sees: bars while steps run, tables, text that is shown as it is."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console
from rich.text import Text

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
    Terminal(False).errors([found, Diagnostic("odd", "strange", severity=Severity.WARNING)], 2)
    assert capsys.readouterr().err == f"{found}\nwarning[odd]: strange\n"


def test_stopwatch() -> None:
    with stopwatch() as seconds:
        pass
    assert 0 <= seconds[0] < 60


def test_errors_are_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    found = Diagnostic("not-finite", "NaN", Location("model.py", 3, "body"), "train again")
    Terminal(True).errors([found], 2)
    out, err = capsys.readouterr()
    assert err == f"{found}\n"
    assert json.loads(out) == {
        "errors": [
            {
                "slug": "not-finite",
                "severity": "error",
                "message": "NaN",
                "file": "model.py",
                "line": 3,
                "module": "body",
                "hint": "train again",
            }
        ],
        "exit_code": 2,
    }


def test_time_left_is_shown_once_it_is_known() -> None:
    terminal, screen = on_a_terminal()
    with terminal.step("compress"):
        terminal.progress("tune", 0)
        assert "left:" not in screen.getvalue()
        terminal.progress("tune", 0.25)
        terminal.progress("tune", 0.5)
    assert re.search(r"tune .*50%.*0:00:0\d left: ", screen.getvalue())


@pytest.mark.parametrize(
    ("environment", "has_colours"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], has_colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = io.StringIO()
    terminal = Terminal(False, console=Console(file=screen, force_terminal=True))
    terminal.errors([Diagnostic("odd", "strange")], 2)
    assert ("31m" in screen.getvalue()) is has_colours
    assert "error[odd]: strange" in re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())


def test_no_colours_in_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal(False)
    terminal.errors([Diagnostic("odd", "strange")], 2)
    terminal.result(None, table("", ("", ""), [("a", Text("b *", "green"))]), ":key: stays")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert out.endswith(":key: stays\n")
