"""Run the user's forward: whatever it raises becomes a Diagnostic at its line in the model."""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from types import TracebackType

from torch import nn

from bitkiln.ir import Location, ToolError, fail

from ._places import frame_location


class UserCode:
    """Turns what the traced model raises into a ToolError `model-raised` that names its line, module and input shape.

    A context manager rather than an `except`, because no list of exceptions holds for code that is not ours.
    """

    def __init__(
        self, model_file: Path | None, module: nn.Module | None = None, input_shape: tuple[int, ...] = ()
    ) -> None:
        self.model_file = model_file
        self.module = module
        self.input_shape = input_shape
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.quiet.__enter__()
        warnings.simplefilter("ignore")  # torch warns about its own insides while it traces

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quiet.__exit__(kind, error, trace)
        if not isinstance(error, Exception) or isinstance(error, ToolError):
            return
        frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(trace)]
        file, line = frame_location(frames[1:], self.model_file)
        path = _failing_module(self.module, trace) if self.module else ""
        message = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
        shape = f" for an input of shape {list(self.input_shape)}" if self.input_shape else ""
        raise fail(
            "model-raised",
            f"the model's forward raises {message}{shape}",
            Location(file, line, path),
            "check that the input shape is the one the model was made for" if self.input_shape else "",
        ) from error


def _failing_module(module: nn.Module, trace: TracebackType | None) -> str:
    """Dotted path of the innermost submodule on the stack."""
    paths = {id(child): path for path, child in module.named_modules()}
    found = ""
    while trace is not None:
        found = paths.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found
