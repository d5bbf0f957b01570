"""`torchvision:resnet18` and `timm:NAME`: networks of installed packages, by name and literal arguments."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping

import torch
from torch import nn

from bitkiln.ir import fail, known_names

from ._user_code import UserCode
from .torchvision_shim import import_torchvision, torchvision_model

_REFERENCE = re.compile(r"(?P<package>[a-z]+):(?P<name>[A-Za-z0-9_.]+)(?:\((?P<arguments>.*)\))?", re.DOTALL)
_FORM = "torchvision:resnet18 or torchvision:resnet18(num_classes=10)"


def is_zoo_reference(reference: str) -> bool:
    """True for `torchvision:...` and `timm:...`."""
    return reference.partition(":")[0] in _ZOOS


def load_zoo_model(reference: str) -> nn.Module:
    """Return the network in evaluation mode; without a `weights` argument they are random, under seed 0.

    Raises ToolError `bad-model-reference`, `missing-package`, `unknown-model` or `model-raised`.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or match["package"] not in _ZOOS:
        raise fail("bad-model-reference", f"A network is named as {_FORM}, not {reference!r}")
    keywords = _read_arguments(match["arguments"] or "")
    build = _ZOOS[match["package"]]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return build(match["name"], keywords)


def _read_arguments(text: str) -> dict[str, object]:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        is_plain = len(keywords) == len(call.keywords) and not call.args
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, AssertionError):
        is_plain = False  # what ast documents for text that is no literal
    if not is_plain:
        raise fail(
            "bad-model-reference", f"the arguments are literals with names, not {text!r}", hint=f"such as {_FORM}"
        )
    return keywords


def _torchvision(name: str, keywords: Mapping[str, object]) -> nn.Module:
    import_torchvision()  # outside the user's code: a missing package is no mistake of the model
    with UserCode(None, activity=f"torchvision's {name}"):
        return torchvision_model(name, **keywords)


def _timm(name: str, keywords: Mapping[str, object]) -> nn.Module:
    if importlib.util.find_spec("timm") is None:
        raise fail("missing-package", "timm is not installed", hint="pip install timm")
    import_torchvision()  # timm imports it and would fail beside a CPU torch
    timm = importlib.import_module("timm")
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise fail("unknown-model", f"timm has no model {name!r}", hint=known_names(name, known))
    with UserCode(None, activity=f"timm's {name}"):
        module: nn.Module = timm.create_model(name, **keywords)
    return module.eval()


_ZOOS: Mapping[str, Callable[[str, Mapping[str, object]], nn.Module]] = {"torchvision": _torchvision, "timm": _timm}
