"""Trained weights from disk into a module, and back.

Weight files come from strangers: only formats that cannot run code are read, safetensors and torch.load's
weights_only mode, and every disagreement with the module is named tensor by tensor, all of them at once.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bitkiln.ir import Diagnostic, Location, ToolError, fail, write_whole

_TORCH_SUFFIXES = (".pt", ".pth")
_SUFFIXES = (".safetensors", *_TORCH_SUFFIXES)
_LISTED_NAMES = 8
_ZIP_MAGIC = b"PK\x03\x04"
_SAVE_HINT = "save the tensors alone: torch.save(model.state_dict(), path)"
# What weights_only unpickling of a damaged archive ends in: torch checks neither sums nor operands.
_TORCH_LOAD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_state(module: nn.Module, path: Path) -> None:
    """Copy the weights in `path` (.safetensors, .pt or .pth with a state dict) into `module`.

    Numbers are converted to the module's own floating-point types. Raises a ToolError, with one Diagnostic for
    each kind of finding, when the file cannot be read or does not hold exactly the module's finite tensors;
    the module is then unchanged. Tied tensors may be stored once, and num_batches_tracked may be missing: it
    has no effect on a trained network.
    """
    location = Location(str(path))
    found = _read_state(path)
    own = _tensors(module)
    common = own.keys() & found.keys()
    fitting = {name: found[name].to(own[name].dtype) for name in common if _fits(found[name], own[name])}
    mismatched = [
        f"{name} (must be {_describe(own[name])}, not {_describe(found[name])})" for name in common - fitting.keys()
    ]
    hint = _prefix_hint(found.keys())
    findings = [
        _finding("missing-weights", "The weight file lacks", _missing(own, found), location, hint),
        _finding("unexpected-weights", "The model has no", found.keys() - own.keys(), location, hint),
        _finding("mismatched-weights", "Weights do not fit the model:", mismatched, location),
        _not_finite(fitting, location),
    ]
    diagnostics = [finding for finding in findings if finding is not None]
    if diagnostics:
        raise ToolError(*diagnostics)
    # Not strict: the few tensors that may be missing have passed the checks above.
    module.load_state_dict(fitting, strict=False)


def save_state(module: nn.Module, path: Path) -> None:
    """Write the module's tensors to `path` as safetensors, whole or not at all; the same weights, the same bytes.

    Tied tensors are stored once, under the first of their names.
    """
    distinct: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in sorted(_tensors(module).items()):
        distinct.setdefault(id(tensor), (name, tensor))
    # Cloned, because safetensors refuses tensors that are views into one storage.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in distinct.values()}
    write_whole(path, save_safetensors(state))


def check_weights(module: nn.Module, location: Location) -> None:
    """Raise a ToolError that names every parameter and buffer of `module` with NaN or infinite values."""
    finding = _not_finite(_tensors(module), location)
    if finding is not None:
        raise ToolError(finding)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the module's own parameters and persistent buffers; tied ones are one object under two names."""
    state: Mapping[str, object] = module.state_dict(keep_vars=True)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    lazy = [name for name, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        raise fail(
            "uninitialised-weights",
            f"The model has lazy tensors, which have no shape yet: {_listed(lazy)}",
            hint="give the layers their sizes, or run the model once on a sample before it is returned",
        )
    return tensors


def _read_state(path: Path) -> dict[str, Tensor]:
    location = Location(str(path))
    if path.suffix not in _SUFFIXES:
        raise fail(
            "unknown-format",
            f"A weight file must end in {', '.join(_SUFFIXES)}, not {path.suffix or 'nothing'}",
            location,
            "other formats may run code when they are read: save model.state_dict() in one of these",
        )
    if not path.is_file():
        raise fail("missing-file", "The weight file does not exist", location, "train the model first")
    try:
        content = load_safetensors(path.read_bytes()) if path.suffix == ".safetensors" else _read_torch(path)
    except (SafetensorError, OSError) as error:
        raise fail("bad-weight-file", f"The weight file cannot be read: {error}", location) from error
    return _checked_state(content, location)


def _read_torch(path: Path) -> object:
    location = Location(str(path))
    with path.open("rb") as file:
        is_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    if not is_archive:  # the older format is a bare pickle
        raise fail("bad-weight-file", "The weight file is no archive of torch.save (PyTorch 1.6 or newer)", location)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says more than torch's remarks on the archive
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise fail(
            "bad-weight-file",
            "The weight file holds more than tensors, or is damaged; only tensors are read, as all else may run code",
            location,
            _SAVE_HINT,
        ) from error
    except _TORCH_LOAD_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise fail("bad-weight-file", f"The weight file cannot be read: {reason}", location) from error


def _checked_state(content: object, location: Location) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise fail("bad-weight-file", f"A weight file must hold a state dict, not {kind}", location, _SAVE_HINT)
    strangers = sorted(str(name) for name, value in content.items() if not isinstance(value, Tensor))
    if strangers:
        message = f"Entries of a state dict must be tensors, which these are not: {_listed(strangers)}"
        raise fail("bad-weight-file", message, location, _SAVE_HINT)
    return {str(name): cast(Tensor, value) for name, value in content.items()}


def _fits(found: Tensor, own: Tensor) -> bool:
    return (
        found.shape == own.shape
        and found.is_floating_point() == own.is_floating_point()
        and not (found.is_complex() or found.is_quantized or found.is_meta)
        and found.layout is torch.strided
    )


def _missing(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> set[str]:
    """Return the names that must be in the file and are not."""
    loaded = {id(own[name]) for name in own.keys() & found.keys()}
    absent = {name for name, tensor in own.items() if name not in found and id(tensor) not in loaded}
    return {name for name in absent if name.rpartition(".")[2] != "num_batches_tracked"}


def _prefix_hint(names: Collection[str]) -> str:
    """Return advice for state dicts of a wrapper (DataParallel, torch.compile, Lightning)."""
    for prefix in ("module.", "_orig_mod.", "model."):
        if names and all(name.startswith(prefix) for name in names):
            return f"every name in the file begins with {prefix!r}: save the state dict of the wrapped model"
    return "do the model file and the weight file belong together?"


def _not_finite(tensors: Mapping[str, Tensor], location: Location) -> Diagnostic | None:
    counts = {
        name: int((~torch.isfinite(tensor)).sum()) for name, tensor in tensors.items() if tensor.is_floating_point()
    }
    bad = [f"{name} ({count} of {tensors[name].numel()} values)" for name, count in counts.items() if count]
    hint = "train again with a lower learning rate, or load another checkpoint"
    return _finding("not-finite", "Weights must be finite, but NaN or infinity is in", bad, location, hint)


def _finding(slug: str, message: str, names: Collection[str], location: Location, hint: str = "") -> Diagnostic | None:
    return Diagnostic(slug, f"{message} {_listed(names)}", location, hint) if names else None


def _listed(names: Collection[str]) -> str:
    shown = sorted(names)[:_LISTED_NAMES]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
