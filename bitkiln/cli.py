"""The command `bitkiln`: one sub-command a verb. What the verbs take stands in `bitkiln.frontend.arguments`, what they
do in `bitkiln.frontend.commands`.

Exit codes: 0 done, 1 the design falls short (wrong bits or cycles, clock missed), 2 the input is wrong, 130 Ctrl-C,
143 SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from bitkiln.frontend.arguments import WrongArguments, parser
from bitkiln.ir.diagnostics import Diagnostic

FALLS_SHORT, WRONG_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143

_DESIGN_FALLS_SHORT = frozenset({"misses-clock", "simulation-stuck", "surplus-output", "unstable-output"})


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; passes wherever Ctrl-C does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake is a Diagnostic on standard error, no traceback."""
    try:
        arguments = parser().parse_args(argv)
    except WrongArguments as error:
        print(f"{error.usage}{error}", file=sys.stderr)
        if "--json" in (sys.argv[1:] if argv is None else argv):
            _print_error("bad-arguments", str(error), WRONG_INPUT)
        raise SystemExit(WRONG_INPUT) from None
    try:
        with _terminated_in_order():
            return _carry_out(arguments)
    except KeyboardInterrupt as end:
        go_on = "; finished steps are kept, the same command goes on from there" if arguments.verb == "run" else ""
        print(f"interrupted{go_on}", file=sys.stderr)
        code = TERMINATED if isinstance(end, _Terminated) else INTERRUPTED
        if arguments.json:
            _print_error("interrupted", f"interrupted{go_on}", code)
        return code


def _print_error(slug: str, message: str, exit_code: int) -> None:
    """Print what went wrong as JSON, in the form of `Terminal.errors`, without anything that is slow to import."""
    print(json.dumps({"errors": [Diagnostic(slug, message).to_plain()], "exit_code": exit_code}, indent=1))


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM unwind the stack: the programs that we started end, and temporary files go."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _carry_out(arguments: argparse.Namespace) -> int:
    from bitkiln.frontend.extras import missing_extra  # noqa: PLC0415  # --help stays fast
    from bitkiln.frontend.terminal import Terminal  # noqa: PLC0415
    from bitkiln.ir.diagnostics import ToolError, fail  # noqa: PLC0415

    # Amaranth's advice to its own users, when an error leaves a design half-way.
    warnings.filterwarnings("ignore", message=".* created but never used")
    terminal = Terminal(arguments.json)
    try:
        return _command(arguments.verb)(arguments, terminal)
    except ToolError as error:
        found = error
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            raise
        found = extra
    except OSError as error:
        if error.filename is None:
            raise
        hint = "check that it is there, and its permissions"
        found = fail("file-error", f"{error.filename}: {error.strerror}", hint=hint)
    code = FALLS_SHORT if {item.slug for item in found.diagnostics} <= _DESIGN_FALLS_SHORT else WRONG_INPUT
    terminal.errors(found.diagnostics, code)
    return code


def _command(verb: str) -> Callable[..., int]:
    if verb == "list":
        from bitkiln.frontend import listing  # noqa: PLC0415  # without torch, where it can be

        return listing.list_things
    if verb == "completion":
        from bitkiln.frontend import completing  # noqa: PLC0415

        return completing.completion_command
    if verb in ("flash", "infer"):
        from bitkiln.frontend import on_board  # noqa: PLC0415

        return on_board.infer_command if verb == "infer" else on_board.flash_command
    if verb == "build":
        from bitkiln.frontend import building  # noqa: PLC0415

        return building.build_command
    if verb == "compress":
        from bitkiln.frontend import compressing  # noqa: PLC0415

        return compressing.compress_command
    if verb == "explore":
        from bitkiln.frontend import exploring  # noqa: PLC0415

        return exploring.explore_command
    from bitkiln.frontend import commands  # noqa: PLC0415

    result: Callable[..., int] = getattr(commands, f"{verb}_command")
    return result
