"""`bitkiln completion SHELL`: the shell's completion script, written by shtab from the parser of the command line.

The script is static: at a TAB nothing of bitkiln runs, so names that only a run could know are completed as files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from bitkiln.boards import BOARDS, VENDOR_BOARDS

from .arguments import parser
from .terminal import Terminal


def completion_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print the script; `eval "$(bitkiln completion bash)"` makes it work in this shell."""
    whole = parser()
    for action in _actions(whole):
        _say_what_completes(action)
    script: str = shtab.complete(whole, shell=arguments.shell)
    terminal.result({"shell": arguments.shell, "script": script}, script)
    return 0


def _actions(whole: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in whole._actions:  # argparse has no public way to walk a parser; shtab goes this way, too
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)


def _say_what_completes(action: argparse.Action) -> None:
    if action.dest == "board":
        action.choices = sorted(board.name for board in (*BOARDS, *VENDOR_BOARDS))
    elif action.type is Path or action.dest in ("model", "against", "accelerator"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]  # the attribute that shtab looks for
