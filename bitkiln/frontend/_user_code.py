"""Run the user's own code: whatever it raises becomes a Diagnostic at its line in the model."""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
import warnings
from pathlib import Path
from types import TracebackType

from torch import nn

from bitkiln.ir import Location, ToolError, fail

from ._places import frame_location, plain_text

_LONGEST_MESSAGE = 300
_OURS = Path(__file__).parent


class UserCode:
    """Turns what the user's code raises into a ToolError `model-raised` that names its line and module.

    A context manager rather than an `except`, because no list of exceptions holds for code that is not ours. Only our
    own ToolError and the user's Ctrl-C pass unchanged. `activity` is what runs, and begins the message; `module` and
    `input_shape` are the model that is traced.
    """

    def __init__(
        self,
        file: Path | None,
        module: nn.Module | None = None,
        input_shape: tuple[int, ...] = (),
        activity: str = "the model's forward",
    ) -> None:
        self._file = file
        self._source = str(file.resolve()) if file else ""  # now, because the code may change the current folder
        self._module = module
        self._input_shape = input_shape
        self._activity = activity
        self._quiet = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._module is None:
            self._quiet.enter_context(contextlib.redirect_stdout(sys.stderr))  # standard output is for our results
            return
        self._quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # torch warns about its own insides while it traces, and prints them
        self._quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        self._quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quiet.close()
        if error is None or isinstance(error, ToolError | KeyboardInterrupt):
            return
        first_paragraph = str(error).strip().partition("\n\n")[0]
        text = " ".join(first_paragraph.split())[:_LONGEST_MESSAGE]
        shape = f" for an input of shape {list(self._input_shape)}" if self._input_shape else ""
        raise fail(
            "model-raised",
            f"{self._activity} raises {type(error).__name__}{': ' if text else ''}{text}{shape}",
            self._location(error, trace),
            _hint(error) or ("check that the input shape is the one the model was made for" if shape else ""),
        ) from error

    def _location(self, error: BaseException, trace: TracebackType | None) -> Location:
        file = plain_text(str(self._file or ""))
        if isinstance(error, SyntaxError) and error.filename == self._source:
            return Location(file, error.lineno or 0)
        path = _failing_module(self._module, trace) if self._module else ""
        frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(trace)]
        frames = [(name, line) for name, line in frames if Path(name).parent != _OURS]
        lines = [line for name, line in frames if str(Path(name).resolve()) == self._source]
        if lines:
            return Location(file, lines[-1], path)
        elsewhere, line = frame_location(frames, None)
        return Location(elsewhere or file, line, path)


def _failing_module(module: nn.Module, trace: TracebackType | None) -> str:
    """Dotted path of the innermost submodule on the stack."""
    paths = {id(child): path for path, child in module.named_modules()}
    found = ""
    while trace is not None:
        found = paths.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found


def _hint(error: BaseException) -> str:
    # Here because it loads sympy, which no other command needs.
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode  # noqa: PLC0415

    match error:
        case ModuleNotFoundError(name=str(name)):
            return f"install {name}, or put {name}.py beside the model file"
        case SystemExit():
            return 'put what runs as a script under `if __name__ == "__main__":`'
        case GuardOnDataDependentSymNode():
            return "hardware has no branches: choose between values with torch.where instead of `if` on a tensor"
        case _:
            return ""
