"""What the user's forward may do while it is traced."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import ToolError

HERE = Path(__file__)
SHAPE = (1, 4)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Exits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        sys.exit(3)


class Interrupted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


class Prints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print("tracing")
        return torch.relu(x)


def refusal(module: nn.Module) -> str:
    with pytest.raises(ToolError) as caught:
        import_module(module.eval(), SHAPE, "net", HERE)
    return str(caught.value).replace(str(HERE), "model.py")


def test_a_branch_on_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        refusal(Branches())
        == """\
error[model-raised]: the model's forward raises GuardOnDataDependentSymNode: Could not guard on data-dependent \
expression Eq(u0, 1) (unhinted: Eq(u0, 1)). (Size-like symbols: none) for an input of shape [1, 4]
  --> model.py:21
  help: hardware has no branches: choose between values with torch.where instead of `if` on a tensor"""
    )
    assert capsys.readouterr() == ("", "")  # torch prints the graph up to there


def test_a_forward_that_leaves_python() -> None:
    assert (
        refusal(Exits())
        == """\
error[model-raised]: the model's forward raises SystemExit: 3 for an input of shape [1, 4]
  --> model.py:26
  help: put what runs as a script under `if __name__ == "__main__":`"""
    )


def test_ctrl_c_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        import_module(Interrupted().eval(), SHAPE, "net", HERE)


def test_a_forward_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    graph = import_module(Prints().eval(), SHAPE, "net", HERE)
    assert [node.op.name for node in graph.nodes] == ["relu"]
    assert capsys.readouterr() == ("", "")
