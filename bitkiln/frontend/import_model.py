"""Any way of naming a model to a canonical Graph: `model.py:build`, or a program saved by torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bitkiln.ir import Graph, check_finite, fail
from bitkiln.passes import canonicalise

from .model_reference import load_model, parse_reference
from .state import load_state
from .torch_import import import_module, import_program


def import_reference(
    reference: str, input_shape: tuple[int, ...] | None, weights: Path | None, name: str = ""
) -> Graph:
    """Return the canonical float Graph of `reference`; its name defaults to the file's.

    A `.pt2` file brings its shapes and weights along; a factory needs `input_shape`, and takes `weights` if given.
    Raises a ToolError for every mistake.
    """
    with _quiet_export():
        if reference.endswith(".pt2"):
            graph = _import_file(Path(reference), name or Path(reference).stem)
        else:
            graph = _import_factory(reference, input_shape, weights, name)
    graph = canonicalise(graph)
    check_finite(graph)
    return graph


@contextmanager
def _quiet_export() -> Iterator[None]:
    """Keep torch.export from warning of what it deprecates itself, and from logging what becomes our Diagnostic."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _import_factory(reference: str, input_shape: tuple[int, ...] | None, weights: Path | None, name: str) -> Graph:
    if input_shape is None:
        raise fail("missing-input-shape", f"{reference} needs the shape of its input", hint="--input-size 1,3,32,32")
    file = parse_reference(reference).file
    module = load_model(reference)
    if weights is not None:
        load_state(module, weights)
    return import_module(module, input_shape, name or file.stem, file)


def _import_file(path: Path, name: str) -> Graph:
    if not path.is_file():
        raise fail("missing-file", f"{path} is no file", hint="torch.export.save(program, path) writes one")
    try:
        program = torch.export.load(path)
    except (RuntimeError, ValueError, KeyError, OSError, AssertionError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise fail("bad-pt2", f"{path} is no program saved by torch.export: {first_line[:200]}") from None
    return import_program(program, name)
