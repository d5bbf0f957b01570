"""Runs generated Tcl in a real Tcl interpreter whose vendor commands only check how they are called.

So a command, option, variable, file, block, pin or parameter that does not exist is an error, with its line. What the
vendor's tool makes of a right call is not known: nothing here is a run of Vivado or Vitis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from .tcl_blocks import CATALOGUE, Block, BlockDesign
from .tcl_commands import Command

tkinter = pytest.importorskip("tkinter", reason="Tcl is checked by Python's own Tcl interpreter")

_STUB = (
    "proc {name} args {{ lassign [__check {name} $args] wrong result; "
    "if {{$wrong ne {{}}}} {{ error $wrong }}; return $result }}"
)
# What a generated script has no business with; `unknown` would look for programs.
_REMOVED = ("exec", "socket", "unknown", "auto_load", "auto_execok")


class WrongTclError(Exception):
    """A script calls something that does not exist; the message ends with the script's line."""


class _Checker:
    def __init__(
        self,
        commands: Sequence[Command],
        blocks: Mapping[str, Block],
        results: Mapping[str, str],
        arguments: Sequence[str],
    ) -> None:
        self.results = results
        self.commands = {command.name: command for command in commands}
        self.design = BlockDesign({**CATALOGUE, **blocks})
        self.calls: list[tuple[str, ...]] = []
        self.tcl = tkinter.Tcl()
        self.tcl.createcommand("__check", self._check)
        for name in _REMOVED:
            self.tcl.eval(f"rename {name} {{}}")
        for name in self.commands:
            namespace = name.rpartition("::")[0]
            if namespace:
                self.tcl.eval(f"namespace eval {namespace} {{}}")
            self.tcl.eval(_STUB.format(name=name))
        self.tcl.eval("proc exit args { return -level 2 }")  # the script ends, not the tests
        self.tcl.setvar("argv", tuple(arguments))
        self.tcl.setvar("argc", len(arguments))

    def run(self, script: Path) -> None:
        try:
            self.tcl.call("source", str(script))
        except tkinter.TclError as error:
            trace = str(self.tcl.getvar("errorInfo"))
            place = [line.strip(' ()"') for line in trace.splitlines() if f'(file "{script}" line' in line]
            raise WrongTclError(f"{error} ({place[-1].rpartition('line ')[2] if place else '?'})") from None

    def _check(self, name: str, words: str) -> tuple[str, str]:
        given = [str(word) for word in self.tcl.splitlist(words)]
        self.calls.append((name, *given))
        command = self.commands[name]
        wrong, options, others = _split(command, given)
        wrong = wrong or self._missing_file(command, others) or self._in_design(name, options, others)
        result = self.results.get(name, others[0] if others else name)  # what looks an object up, or makes it, names it
        return (f"{name}: {wrong}" if wrong else ""), result

    def _missing_file(self, command: Command, others: list[str]) -> str:
        if command.files != "arguments":
            return ""
        names = [str(name) for word in others for name in self.tcl.splitlist(word)]
        missing = [name for name in names if not Path(name).exists()]
        return f"no such file: {missing[0]}" if missing else ""

    def _in_design(self, name: str, options: dict[str, str], others: list[str]) -> str:
        design = self.design
        match name:
            case "create_bd_cell":
                return design.add(others[0], options.get("-vlnv", ""))
            case "get_bd_cells":
                return design.look_up(others[0], is_interface=False) if others else ""
            case "get_bd_pins" | "get_bd_intf_pins":
                return design.look_up(others[0], is_interface=name == "get_bd_intf_pins") if others else ""
            case "connect_bd_net" | "connect_bd_intf_net":
                return design.connect(others, is_interface=name == "connect_bd_intf_net")
            case "set_property":
                return self._properties(options, others)
            case "validate_bd_design":
                open_ = design.left_open()
                return f"left open: {', '.join(open_)}" if open_ else ""
            case _:
                return ""

    def _properties(self, options: dict[str, str], others: list[str]) -> str:
        wanted = 1 if "-dict" in options else 3
        if len(others) != wanted:
            return f"expected {wanted} arguments beside the options, not {len(others)}"
        pairs = [str(word) for word in self.tcl.splitlist(options["-dict"])] if "-dict" in options else others[:2]
        if len(pairs) % 2:
            return f"a property without a value: {pairs[-1]}"
        cell = others[-1].strip("/")
        if cell not in self.design.cells:
            return ""
        return next((wrong for parameter in pairs[::2] if (wrong := self.design.configure(cell, parameter))), "")


def _split(command: Command, given: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """Return what is wrong, the options and the other arguments."""
    options: dict[str, str] = {}
    others: list[str] = []
    words = iter(given)
    for word in words:
        if word in command.flags:
            options[word] = ""
        elif word in command.values:
            value = next(words, None)
            if value is None:
                return f"{word} without a value", options, others
            options[word] = value
        elif word.startswith("-") and not word[1:2].isdigit():
            return f"no option {word}", options, others
        else:
            others.append(word)
    if not command.least <= len(others) <= command.most:
        return f"{command.least} to {command.most} arguments, not {len(others)}", options, others
    return "", options, others


def check_tcl(
    script: Path,
    commands: Sequence[Command],
    blocks: Mapping[str, Block] | None = None,
    results: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> list[tuple[str, ...]]:
    """Run `script` and return its vendor calls.

    `blocks` are those that the catalogue lacks (our own IP), `results` what commands return; others name their object.
    The script runs where it stands: files that it names must be there. Raises WrongTclError.
    """
    checker = _Checker(commands, blocks or {}, results or {}, arguments)
    checker.run(script)
    return checker.calls
