"""`path/model.py:build(width=8)`: the user's own Python file, run once to get a module.

The file is the user's code, so whatever it raises becomes a Diagnostic at the file's own line. Nothing of the
reference is evaluated: its arguments are literals. The import leaves no trace on sys.path, and modules that lie
beside the file are forgotten afterwards, so that two models may each have their own `layers.py`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import torch
from torch import nn

from bitkiln.ir import Location, fail, known_names

from ._user_code import UserCode

_REFERENCE = re.compile(r"(?P<file>.+?\.py)(?::(?P<call>.*))?", re.DOTALL)
_DEFAULT_FACTORY = "build"
_PRIVATE_PREFIX = "_bitkiln_model_"
_FORM = "path/model.py:build or path/model.py:build(width=8)"


@dataclass(frozen=True)
class ModelReference:
    """A Python file, the function in it that returns the module, and the literal arguments to call it with."""

    file: Path
    factory: str = _DEFAULT_FACTORY
    positional: tuple[object, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()


def load_model(reference: str) -> nn.Module:
    """Return the module that `reference` names, in eval mode.

    `path/model.py` alone means `path/model.py:build`. The factory runs under seed 0, so untrained weights are
    the same each time; the caller's random state is kept. What lies beside the file can be imported until the
    factory returns, not later. Raises a ToolError for every mistake.
    """
    parsed = parse_reference(reference)
    with _siblings_importable(parsed.file), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        factory = _find_factory(_import_file(parsed.file), parsed)
        _check_arguments(factory, parsed)
        with UserCode(parsed.file, activity=f"{parsed.factory}()"):
            module = factory(*parsed.positional, **dict(parsed.keywords))
    if not isinstance(module, nn.Module):
        raise fail(
            "bad-model",
            f"{parsed.factory}() must return a torch.nn.Module, not {_kind(module)}",
            _definition(factory, parsed.file),
        )
    return module.eval()


def parse_reference(reference: str) -> ModelReference:
    """Split `path/model.py:build(width=8)`; only literals (numbers, text, lists, None ...) may be arguments."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise fail("bad-model-reference", f"A model is named as {_FORM}, not {reference!r}")
    file = Path(match["file"])
    if match["call"] is None:
        return ModelReference(file)
    try:
        parsed = _parse_call(file, match["call"].strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        parsed = None  # what ast documents for text that is no literal
    if parsed is None:
        raise fail(
            "bad-model-reference",
            f"After the file comes a function, with literal arguments if any, not {match['call']!r}",
            Location(str(file)),
            f"for example {_FORM}",
        )
    return parsed


def source_root(file: Path) -> Path:
    """Return the folder that `file` imports from: its own, or that of the outermost package that it belongs to."""
    folder = file.resolve().parent
    while folder.name.isidentifier() and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _parse_call(file: Path, call: str) -> ModelReference | None:
    match ast.parse(call, mode="eval").body:
        case ast.Name(name):
            return ModelReference(file, name)
        case ast.Call(ast.Name(name), arguments, keywords):
            positional = tuple(ast.literal_eval(argument) for argument in arguments)
            named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg}
            # Fewer, if one is given twice or with the ** of a dict.
            if len(named) == len(keywords):
                return ModelReference(file, name, positional, tuple(named.items()))
        case _:
            pass
    return None


class _SourceLoader(SourceFileLoader):
    """Compiles the source each time: a cached file of the same second and size would be taken for this one."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_file(file: Path) -> ModuleType:
    """Run the file as a module of a private name, which stays in sys.modules for what looks its classes up."""
    if not file.is_file():
        raise fail("missing-file", "The model file does not exist", Location(str(file)))
    source = str(file.resolve())
    packages = Path(source).parent.relative_to(source_root(file)).parts
    name = ".".join((*packages, f"{_PRIVATE_PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:12]}"))
    loader = _SourceLoader(name, source)
    spec = importlib.util.spec_from_file_location(name, source, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with UserCode(file, activity=f"importing {file.name}"):
            loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _siblings_importable(file: Path) -> Iterator[None]:
    """Let modules beside `file`, and the package that holds it, be imported inside the block.

    They and every change to sys.path go afterwards.
    """
    folders = {file.resolve().parent: None, source_root(file): None}
    path, known = list(sys.path), set(sys.modules)
    sys.path[:0] = map(str, folders)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        siblings = {name for name, found in sys.modules.items() if name not in known and _lies_in(folders, found)}
        for name in list(sys.modules):
            if name.partition(".")[0] in siblings and _PRIVATE_PREFIX not in name:
                del sys.modules[name]


def _lies_in(folders: Collection[Path], module: ModuleType) -> bool:
    """Tell whether `module` is a folder/name.py or a package folder/name, with or without an __init__.py."""
    if _PRIVATE_PREFIX in module.__name__:
        return False
    places: list[str] = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
    return any(Path(place).parent in folders for place in places)


def _find_factory(module: ModuleType, reference: ModelReference) -> Callable[..., object]:
    names = vars(module)
    location = Location(str(reference.file))
    if reference.factory not in names:
        own = [name for name, value in names.items() if inspect.isfunction(value) and name[0] != "_"]
        hint = known_names(reference.factory, own) if own else "it defines no functions"
        raise fail("bad-model-reference", f"The model file defines no {reference.factory}", location, hint)
    factory = names[reference.factory]
    if isinstance(factory, nn.Module) or not callable(factory):
        raise fail(
            "bad-model-reference",
            f"{reference.factory} must be a function that returns a torch.nn.Module, not {_kind(factory)}",
            location,
            f"def {_DEFAULT_FACTORY}(): return ...",
        )
    result: Callable[..., object] = factory
    return result


def _check_arguments(factory: Callable[..., object], reference: ModelReference) -> None:
    signature = inspect.signature(factory)
    try:
        signature.bind(*reference.positional, **dict(reference.keywords))
    except TypeError as error:
        raise fail(
            "bad-model-reference",
            f"The arguments do not fit {reference.factory}{signature}: {error}",
            _definition(factory, reference.file),
        ) from error


def _definition(factory: Callable[..., object], file: Path) -> Location:
    """Return the line of the factory, if it is a function of this file."""
    code = getattr(factory, "__code__", None)
    is_here = _PRIVATE_PREFIX in getattr(factory, "__module__", "")
    return Location(str(file), code.co_firstlineno if is_here and isinstance(code, CodeType) else 0)


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
