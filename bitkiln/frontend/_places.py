"""Where in the user's model a traced call comes from, and what its value is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bitkiln.ir import Location

_FRAME = re.compile(r'File "([^"]*)", line (\d{1,9})')
_TORCH = str(Path(torch.__file__).parent) + "/"  # torchvision begins the same
_PACKAGE = re.compile(r".*/(?:site|dist)-packages/(.+)")  # also for files that were traced on another machine
_COMPOSITE = ("MultiheadAttention", "Transformer", "RNN", "LSTM", "GRU")


@dataclass(frozen=True)
class Site:
    """What the exporter recorded about a call: overload, stack trace, innermost module (path, class)."""

    target: str
    stack_trace: str = ""
    module: str = ""
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
    outside = [frame for frame in frames if not _is_torch(frame[0])]
    if inside:
        return plain_text(str(model_file)), int(inside[-1][1])
    return (_short(outside[-1][0]), int(outside[-1][1])) if outside else ("", 0)


def _is_torch(file: str) -> bool:
    match = _PACKAGE.fullmatch(file)
    return file.startswith((_TORCH, "<")) or (match is not None and match[1].startswith("torch/"))


def _short(file: str) -> str:
    """The file's path in an installed package (`torchvision/models/resnet.py`), else its plain name."""
    match = _PACKAGE.fullmatch(file)
    return plain_text(match[1] if match else file.rpartition("/")[2])


def plain_text(text: str) -> str:
    """`text` without what would end a string of the Graph's text form."""
    return re.sub(r'["\x00-\x1f]', "_", text)


def is_layer(site: Site) -> bool:
    """True if the call comes from one of torch's own layers; all but the composite ones compute one thing each."""
    package, _, name = site.module_class.rpartition(".")
    return package.startswith("torch.nn.modules.") and not name.startswith(_COMPOSITE)


def plain_name(name: str) -> str:
    """`name` with everything but letters, digits, `_`, `.` and `-` replaced: what a Graph's text can hold."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name) or "_"
