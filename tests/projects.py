"""Projects on scikit-learn's digits for tests of the command line: a tiny network that is trained once a session."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from bitkiln.boards import BOARDS, VENDOR_BOARDS
from bitkiln.cli import main
from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.frontend.model_reference import load_model
from bitkiln.frontend.state import save_state

BOARD_NAMES = ", ".join(sorted(board.name for board in (*BOARDS, *VENDOR_BOARDS)))
EXAMPLE = Path(__file__).parents[1] / "examples" / "digits"

TINY_MODEL = """\
from torch import nn

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.relu = nn.ReLU()
        self.classify = nn.Linear(36, 10)

    def forward(self, images):
        return self.classify(self.relu(self.conv(images)).flatten(1))

def build():
    return Tiny()
"""

TINY_PROJECT = """\
[model]
reference = "model.py:build"
weights = "weights.safetensors"
input_shape = [1, 1, 8, 8]
name = "tiny"

[data]
format = "digits"

[[passes]]
name = "quantise"
weight_bits = 8

[plan]
max_multipliers = 8

[verify]
images = 4
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Tiny:
    """A finished import and compression of the tiny network; the folder is shared, so nothing may change it."""

    folder: Path
    float_graph: Path
    graph: Path

    def copy(self, folder: Path) -> Path:
        """Return the project file of a fresh copy in `folder`, without any artefact."""
        folder.mkdir(parents=True)
        for name in ("model.py", "weights.safetensors", "project.toml"):
            shutil.copy(self.folder / name, folder)
        return folder / "project.toml"


def make_tiny(folder: Path) -> Tiny:
    """Write the project, train its network in an instant, and keep its graphs."""
    (folder / "model.py").write_text(TINY_MODEL)
    (folder / "project.toml").write_text(TINY_PROJECT)
    train(folder / "model.py")
    tiny = Tiny(folder, folder / "net.graph", folder / "small.graph")
    model = ("import", f"{folder}/model.py:build", "--input-size", "1,1,8,8", "--weights")
    assert main((*model, str(folder / "weights.safetensors"), "-o", str(tiny.float_graph), "--json")) == 0
    passes = ("--pass", "quantise{weight_bits=8}", "--data", "digits", "-o", str(tiny.graph), "--json")
    assert main(("compress", str(tiny.float_graph), *passes)) == 0
    return tiny


@torch.no_grad()
def train(model_file: Path) -> None:
    """Write weights.safetensors beside the model file: the convolution stays random, the linear layer is fitted."""
    data = load_dataset(DataSpec(DataFormat.DIGITS))
    model: Any = load_model(f"{model_file}:build")
    features = model.relu(model.conv(torch.from_numpy(data.train_x))).flatten(1)
    with_bias = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    is_class = F.one_hot(torch.from_numpy(data.train_y), 10).double()
    fitted = torch.linalg.lstsq(with_bias, is_class).solution.T.float()
    model.classify.weight.copy_(fitted[:, :-1])
    model.classify.bias.copy_(fitted[:, -1])
    save_state(model, model_file.parent / "weights.safetensors")
