"""Where in the user's model a traced call comes from, and what its value is called."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bitkiln.ir import Location

from ._program import op_name

_FRAME = re.compile(r'File "([^"]*)", line (\d{1,9})')
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class Site:
    """What the exporter recorded about a call: overload, stack trace, innermost module (path, unique key, class)."""

    target: str
    stack_trace: str = ""
    module: str = ""
    module_key: str = ""
    module_class: str = ""


def locations(sites: Sequence[Site], model_file: Path | None) -> list[Location]:
    """Return each call's line in the model: the innermost frame in `model_file`, else the innermost outside torch."""
    places = [frame_location(_FRAME.findall(site.stack_trace), model_file) for site in sites]
    return [Location(file, line, site.module) for (file, line), site in zip(places, sites, strict=True)]


def frame_location(frames: Sequence[tuple[str, str | int]], model_file: Path | None) -> tuple[str, int]:
    """Pick the frame to show, from outermost to innermost ones: `model_file` as it was given, other files by their
    names in their package, so that results do not depend on where things are installed."""
    wanted = str(model_file.resolve()) if model_file else ""
    inside = [frame for frame in frames if wanted and str(Path(frame[0]).resolve()) == wanted]
    outside = [frame for frame in frames if not frame[0].startswith((_TORCH, "<"))]
    if inside:
        return plain_text(str(model_file)), int(inside[-1][1])
    return (_short(outside[-1][0]), int(outside[-1][1])) if outside else ("", 0)


def _short(file: str) -> str:
    """The file's path below an installed package's folder (`torchvision/models/resnet.py`), else its plain name."""
    path = Path(file)
    for entry in sys.path:
        if entry.endswith("site-packages") and path.is_relative_to(entry):
            return plain_text(str(path.relative_to(entry)))
    return plain_text(path.name)


def plain_text(text: str) -> str:
    """`text` without what would end a string of the Graph's text form."""
    return re.sub(r'["\x00-\x1f]', "_", text)


def names(sites: Sequence[Site]) -> list[str]:
    """Name each call after its module (`features.0`), with the operation where a module does several."""
    calls = Counter(site.module_key for site in sites)
    return [_name(site, calls[site.module_key] == 1) for site in sites]


def _name(site: Site, is_only_call: bool) -> str:
    if site.module and is_only_call and site.module_class.startswith("torch.nn.modules."):
        return plain_name(site.module)
    operation = op_name(site.target)
    return plain_name(f"{site.module}.{operation}" if site.module else operation)


def plain_name(name: str) -> str:
    """`name` with everything but letters, digits, `_`, `.` and `-` replaced: what a Graph's text can hold."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name) or "_"
