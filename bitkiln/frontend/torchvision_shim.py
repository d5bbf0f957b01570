"""torchvision beside a CPU build of torch, and its networks without their weights.

PyPI's torchvision wheels are built for CUDA. On a CPU torch their library does not load, and `import torchvision` fails
because two operators were never declared (pytorch/vision#9085). Classification and segmentation networks do not use
them, so declaring them is enough.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bitkiln.ir import fail, known_names

_MISSING = ("nms", "qnms")  # operators of the library that torchvision declares shapes for when it is imported


def import_torchvision() -> ModuleType:
    """Return the torchvision package; raises ToolError `missing-package` if it is not installed."""
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise fail(
            "missing-package", "torchvision is not installed", hint="pip install torchvision==0.28.0 (for torch 2.13)"
        ) from None
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _MISSING:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    package = importlib.import_module("torchvision")
    package.bitkiln_operators = library  # type: ignore[attr-defined]  # they live as long as this object
    return package


def torchvision_model(name: str, **arguments: Any) -> nn.Module:
    """Build `torchvision.models.get_model(name)` in evaluation mode; raises ToolError `unknown-model`."""
    models = import_torchvision().models
    known = models.list_models()
    if name not in known:
        raise fail("unknown-model", f"torchvision has no model {name!r}", hint=known_names(name, known))
    module: nn.Module = models.get_model(name, **arguments)
    return module.eval()


def torchvision_input(name: str) -> tuple[int, ...]:
    """Return the shape of one image of the size that torchvision's default weights of a network are for.

    Raises ToolError `unknown-model`. Nothing is fetched: the size is part of the package.
    """
    models = import_torchvision().models
    known = models.list_models()
    if name not in known:
        raise fail("unknown-model", f"torchvision has no model {name!r}", hint=known_names(name, known))
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    size = getattr(transforms, "crop_size", [224])[0]
    return 1, 3, size, size


class SkipInitialisation(TorchFunctionMode):
    """Inside this context, new parameters are not filled: their memory is never touched, so it is never taken.

    For imports that read shapes only: the values are arbitrary. Buffers are filled as usual, because networks compute
    with them. (`torch.device("meta")` leaves buffers empty, and some constructors read values.)
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        target = args[0] if args else keywords.get("tensor")
        name = getattr(func, "__name__", "")
        if isinstance(target, nn.Parameter) and name.endswith("_") and not name.startswith("__"):
            return target
        return func(*args, **keywords)
