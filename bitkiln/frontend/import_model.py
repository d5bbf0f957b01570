"""Any way of naming a model to a canonical Graph: `model.py:build`, `torchvision:resnet18`, a saved program."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitkiln.ir import Graph, Location, fail, single_input

from .deep_compression import SQUEEZENET_SUFFIX, import_squeezenet
from .model_reference import load_model, parse_reference
from .model_zoo import is_zoo_reference, load_zoo_model
from .onnx_import import import_onnx_counting
from .pt2_import import import_pt2_counting
from .state import load_state
from .torch_import import Imported, finish_counting, read_module

MODEL_SUFFIXES = (".pt2", ".onnx", SQUEEZENET_SUFFIX)


def model_file(reference: str) -> Path:
    """Return the file that `reference` names, or the package; raises ToolError `bad-model-reference`."""
    if is_zoo_reference(reference):
        return Path(reference.partition(":")[0])
    return Path(reference) if reference.endswith(MODEL_SUFFIXES) else parse_reference(reference).file


def import_reference(
    reference: str, input_shape: tuple[int, ...] | None, weights: Path | None, name: str = ""
) -> Graph:
    """Return the canonical float Graph of `reference`; its name defaults to the file's.

    A `.pt2` or `.onnx` file, or the `.net` of Deep Compression, brings its shapes and weights along (`input_shape` may
    give sizes that an `.onnx` file leaves open); a factory needs `input_shape`, and takes `weights` if given.
    Raises a ToolError for every mistake.
    """
    return import_counting(reference, input_shape, weights, name).graph


def import_counting(
    reference: str, input_shape: tuple[int, ...] | None, weights: Path | None, name: str = ""
) -> Imported:
    """Like `import_reference`, with the numbers that the canonical Graph no longer shows."""
    file = model_file(reference)
    if is_zoo_reference(reference) or file.suffix == ".py":
        with _quiet_export():
            return _import_factory(reference, file, input_shape, weights, name)
    if weights is not None:
        raise fail("unexpected-weights", f"{file} holds its own weights", hint=f"leave {weights} out")
    imported = _import_file(file, input_shape, name)
    shape = single_input(imported.graph).type.shape
    if input_shape is not None and shape != input_shape:
        message = f"The model takes the input shape {list(shape)}, not {list(input_shape)}"
        raise fail("input-mismatch", message, Location(str(file)))
    return imported


def _import_file(file: Path, input_shape: tuple[int, ...] | None, name: str) -> Imported:
    if file.suffix == SQUEEZENET_SUFFIX:
        return import_squeezenet(file, name)
    return import_onnx_counting(file, name, input_shape) if file.suffix == ".onnx" else import_pt2_counting(file, name)


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


def _import_factory(
    reference: str, file: Path, input_shape: tuple[int, ...] | None, weights: Path | None, name: str
) -> Imported:
    if input_shape is None:
        raise fail("missing-input-shape", f"{reference} needs the shape of its input", hint="--input-size 1,3,32,32")
    is_zoo = is_zoo_reference(reference)
    module = load_zoo_model(reference) if is_zoo else load_model(reference)
    if weights is not None:
        load_state(module, weights)
    default = reference.partition(":")[2].partition("(")[0] if is_zoo else file.stem
    return finish_counting(read_module(module, input_shape, name or default, None if is_zoo else file))
