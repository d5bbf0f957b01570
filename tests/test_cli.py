"""The command line itself: help, exit codes, JSON, and what happens to streams and signals."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bitkiln
from bitkiln.cli import main
from bitkiln.frontend import commands
from bitkiln.frontend.extras import EXTRAS
from bitkiln.ir import Diagnostic, fail
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]

VERBS = ("run", "import", "compress", "simulate", "generate", "verify", "build", "report", "list", "completion")


def run_main(script: str, *arguments: object) -> tuple[str, ...]:
    """A command for another process: the command line after `script`."""
    source = f"import sys\n{script}\nfrom bitkiln.cli import main\nsys.exit(main(sys.argv[1:]))"
    return (sys.executable, "-c", source, *map(str, arguments))


def help_of(capsys: pytest.CaptureFixture[str], *verb: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*verb, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    assert [verb for verb in VERBS if not re.search(rf"\n    {verb}\s", text)] == []
    assert text.endswith("Exit codes: 0 done, 1 the design falls short, 2 the input is wrong.\n")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_is_understood(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, example = help_of(capsys, verb).splitlines()
    label, name, *arguments = shlex.split(example)
    assert (label, name, arguments[0]) == ("example:", "bitkiln", verb)
    monkeypatch.setattr("bitkiln.cli._carry_out", lambda parsed: 0)
    assert main(arguments) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"bitkiln {bitkiln.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "bitkiln: error: the following arguments are required: VERB"),
        ("melt", "bitkiln: error: argument VERB: invalid choice: 'melt' (choose from "),
        ("list ovens", "bitkiln list: error: argument what: invalid choice: 'ovens' (choose from "),
        (
            "import model.py --input-size 8,x",
            "bitkiln import: error: argument --input-size: expected whole numbers like 1,3,32,32, not '8,x'",
        ),
        ("generate rtl net.graph", "bitkiln generate: error: the following arguments are required: -o/--output"),
    ],
)
def test_wrong_arguments(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(arguments))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def json_errors(text: str) -> list[tuple[str, str]]:
    """Slug and message of each; the document is whole and alone on standard output."""
    found = json.loads(text)
    assert found.keys() == {"errors", "exit_code"}
    assert all(error.keys() == Diagnostic("", "").to_plain().keys() for error in found["errors"])
    return [(error["slug"], error["message"]) for error in found["errors"]]


def test_wrong_arguments_are_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generate", "rtl", "net.graph", "--json"])
    assert caught.value.code == 2
    message = "bitkiln generate: error: the following arguments are required: -o/--output"
    out, err = capsys.readouterr()
    assert json_errors(out) == [("bad-arguments", message)]
    assert err.endswith(f"{message}\n")


def test_errors_are_json_for_machines(bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def falls_short(arguments: object, terminal: object) -> int:
        raise fail("misses-clock", "the clock is 12 MHz", hint="lower it")

    def interrupted(arguments: object, terminal: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "report_command", falls_short)
    found = bitkiln("report", "p", "--json")
    assert (found.code, json.loads(found.out)["exit_code"]) == (1, 1)
    assert json_errors(found.out) == [("misses-clock", "the clock is 12 MHz")]
    assert found.err == "error[misses-clock]: the clock is 12 MHz\n  help: lower it\n"
    monkeypatch.setattr(commands, "report_command", interrupted)
    found = bitkiln("report", "p", "--json")
    assert (found.code, json_errors(found.out)) == (130, [("interrupted", "interrupted")])


@pytest.mark.parametrize("slug", ["misses-clock", "simulation-stuck", "surplus-output", "unstable-output"])
def test_a_design_that_falls_short_ends_with_1(slug: str, bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def falls_short(arguments: object, terminal: object) -> int:
        raise fail(slug, "the clock is 12 MHz", hint="lower it")

    monkeypatch.setattr(commands, "report_command", falls_short)
    assert bitkiln("report", "p") == Outcome(1, "", f"error[{slug}]: the clock is 12 MHz\n  help: lower it\n")


def test_a_file_that_vanishes_is_named(bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanishes(arguments: object, terminal: object) -> int:
        Path("/no/such/file").read_text()
        return 0

    monkeypatch.setattr(commands, "report_command", vanishes)
    assert bitkiln("report", "p") == Outcome(
        2,
        "",
        "error[file-error]: /no/such/file: No such file or directory\n"
        "  help: check that it is there, and its permissions\n",
    )


def test_our_own_mistakes_are_not_hidden(bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(arguments: object, terminal: object) -> int:
        raise ModuleNotFoundError("No module named 'bitkiln.oven'", name="bitkiln.oven")

    monkeypatch.setattr(commands, "report_command", crashes)
    with pytest.raises(ModuleNotFoundError):
        bitkiln("report", "p")


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("run", "interrupted; finished steps are kept, the same command goes on from there\n"),
        ("report", "interrupted\n"),
    ],
)
def test_ctrl_c(verb: str, text: str, bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object, terminal: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, f"{verb}_command", interrupted)
    assert bitkiln(verb, "p") == Outcome(130, "", text)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_command_and_what_it_started(number: int, code: int, tmp_path: Path) -> None:
    """The stand-in for a tool writes its process number, then waits for longer than the test may take."""
    tool = tmp_path / "iverilog"
    tool.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 600\n")
    tool.chmod(0o755)
    environment = os.environ | {"IVERILOG": str(tool)}
    # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    arguments = run_main(listens, "list", "tools")
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as command:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        command.send_signal(number)
        _, text = command.communicate(timeout=60)
    assert (command.returncode, text) == (code, "interrupted\n")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize("what", ["ops", "passes", "units", "boards"])
def test_lists(what: str, bitkiln: Run) -> None:
    found = bitkiln("list", what, "--json")
    rows: list[dict[str, object]] = json.loads(found.out)
    assert found.code == 0
    assert all(row["name"] and row["what"] for row in rows)
    shown = bitkiln("list", what).out.splitlines()
    assert [line.split()[0] for line in shown] == ["name", *(row["name"] for row in rows)]


def test_list_tools_says_how_to_get_what_is_missing(bitkiln: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOSYS", "/no/such/yosys")
    monkeypatch.setenv("IVERILOG", sys.executable)
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(bitkiln("list", "tools", "--json").out)}
    assert rows["yosys"] == {
        "name": "yosys",
        "version": 'missing: pip install "bitkiln[boards]"; or set YOSYS to the command that runs it',
        "override": "YOSYS",
    }
    assert rows["iverilog"]["version"] == f"Python {sys.version.split()[0]}"


def test_results_are_json_for_machines(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    """Standard output is one JSON document and nothing else; progress goes to standard error."""
    model = f"{tiny.folder}/model.py:build"
    project = tiny.copy(tmp_path / "project")
    commands = (
        ("import", model, "--input-size", "1x1x8x8"),
        ("compress", tiny.float_graph, "--pass", "canonicalise", "--data", "digits"),
        ("simulate", tiny.graph),
        ("run", project, "--until", "simulate"),
        ("run", project, "--until", "simulate", "--force"),
        ("report", project),
    )
    for command in commands:
        found = bitkiln(*command, "--json")
        assert found.code == 0
        assert found.out == json.dumps(json.loads(found.out), indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_that_stops_is_no_error(flags: tuple[str, ...]) -> None:
    with subprocess.Popen(
        run_main("", "list", "ops", *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert (command.stderr.read(), command.wait(60)) == ("", 0)


def test_streams_that_are_closed_or_full() -> None:
    command = shlex.join(run_main("", "list", "ops"))
    closed = subprocess.run(("sh", "-c", f"{command} >&- 2>&-"), check=False)
    assert closed.returncode == 0
    full = subprocess.run(("sh", "-c", f"{command} >/dev/full"), check=False, capture_output=True, text=True)
    text = "error[cannot-write]: cannot write to standard output: No space left on device\n"
    assert (full.returncode, full.stderr) == (2, text)


def test_messages_that_nobody_reads_stop_nothing(tiny: Tiny, tmp_path: Path) -> None:
    project = tiny.copy(tmp_path / "project")
    with subprocess.Popen(run_main("", "run", project, "--until", "compress"), stderr=subprocess.PIPE) as command:
        assert command.stderr is not None
        command.stderr.close()
        assert command.wait(300) == 0
    assert (project.parent / "build" / "accuracy.json").is_file()


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("amaranth", "generate rtl {graph} -o {out}"),
        ("amaranth", "verify {graph} --data digits --images 2"),
        ("amaranth", "build {graph} --board icebreaker -o {out}"),
        ("amaranth_boards", "build {graph} --board icebreaker -o {out}"),
        ("cocotb", "verify {graph} --data digits --images 2"),
        ("cocotb_tools", "verify {graph} --data digits --images 2"),
    ],
)
def test_a_missing_extra_is_named(
    package: str, command: str, tiny: Tiny, bitkiln: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package != "amaranth":
        pytest.importorskip("amaranth", reason="what is missed first is amaranth")
    for name in list(sys.modules):
        if name.split(".")[0] == package or name.startswith("bitkiln.hdl."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "out"
    assert bitkiln(*command.format(graph=tiny.graph, out=out).split()) == Outcome(
        2,
        "",
        f"error[missing-extra]: this needs the Python package {package}, which is not installed\n"
        f'  help: pip install "bitkiln[{EXTRAS[package]}]"\n',
    )
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] in ([], ["lock"])


def test_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    distributions = {"amaranth_boards": "amaranth-boards", "cocotb_tools": "cocotb"}  # where the name is another
    for package, extra in EXTRAS.items():
        name = distributions.get(package, package)
        assert [line for line in extras[extra] if re.fullmatch(rf"{name}[\[><=,.0-9a-z\]-]*", line)], package
