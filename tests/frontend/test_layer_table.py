"""The table of `bitkiln import`: rows, totals that model zoos publish, and what each backend cannot build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitkiln.cli import main
from bitkiln.frontend.import_model import import_counting
from bitkiln.frontend.layer_table import layer_table, shape_table
from bitkiln.frontend.torch_import import finish_counting, read_module
from bitkiln.frontend.torchvision_shim import SkipInitialisation


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.position = nn.Linear(3, 16)  # computes a constant, as relative positions do
        self.unused = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.position(torch.ones(4, 3)).reshape(4, 4, 4)
        return torch.sigmoid(F.relu(self.norm(self.conv(x))) + positions)


PARAMS = 2 * 4 * 9 + 8 + 3 * 16 + 16 + 30
CONV_MACS, FOLDED_MACS = 4 * 4 * 4 * 2 * 9, 4 * 3 * 16


def test_rows_and_totals() -> None:
    module = Network().eval()
    table = layer_table(finish_counting(read_module(module, (1, 2, 6, 6), "net")))
    assert (table.params, table.macs, table.folded_macs) == (PARAMS, CONV_MACS + FOLDED_MACS, FOLDED_MACS)
    conv, relu, add, sigmoid = table.nodes
    assert (conv.name, conv.op, conv.type, conv.params, conv.macs) == ("conv", "conv2d", "f32[1,4,4,4]", 76, CONV_MACS)
    assert conv.weight_min is not None
    assert conv.weight_min == pytest.approx(float(module.conv.weight.detach().min()) / (1 + 1e-5) ** 0.5)
    assert conv.weight_max is not None
    assert (relu.params, relu.weight_min, add.params, sigmoid.op) == (0, None, 64, "sigmoid")
    assert table.unsupported["simulate"] == ()
    reasons = [(found.name, found.place) for found in table.unsupported["rtl"]]
    assert reasons == [("add", add.place)]


def test_shapes_alone_give_the_same_totals() -> None:
    with SkipInitialisation():
        module = Network().eval()
    table = shape_table(module, (1, 2, 6, 6), "net")
    assert (table.params, table.macs) == (PARAMS, CONV_MACS + FOLDED_MACS)
    assert [row.op for row in table.nodes] == ["conv2d", "batch_norm", "relu", "add", "sigmoid"]
    assert all(row.weight_min is None for row in table.nodes)


def test_parameters_are_not_touched_without_initialisation() -> None:
    with SkipInitialisation():
        layer = nn.Linear(64, 64)
        nn.init.constant_(layer.weight, 3.0)
        norm = nn.BatchNorm1d(4)
    assert not torch.equal(layer.weight, torch.full((64, 64), 3.0))
    assert torch.equal(norm.running_var if norm.running_var is not None else torch.zeros(4), torch.ones(4))


def test_the_command_prints_it_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = "nn.Linear(4, 3), nn.Mish(), nn.LayerNorm(3)"
    source = f"from torch import nn\n\n\ndef build():\n    return nn.Sequential({layers})\n"
    (tmp_path / "model.py").write_text(source)
    assert main(["import", f"{tmp_path}/model.py:build", "--input-size", "1,4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["params"], found["macs"]) == ("model", 21, 12)
    assert [node["op"] for node in found["nodes"]] == ["linear", "mish", "layer_norm"]
    assert [obstacle["name"] for obstacle in found["unsupported"]["rtl"]] == [found["nodes"][2]["name"]]
    assert [obstacle["reason"] for obstacle in found["unsupported"]["rtl"]] == ["layer_norm has no integer form"]
    assert found["unsupported"]["simulate"] == []
    assert found["unsupported"]["hls"] == found["unsupported"]["rtl"]


def test_a_quantised_graph_is_planned(shared_data: Path) -> None:
    table = layer_table(import_counting(str(shared_data / "qonnx" / "TFC_1W1A.onnx"), None, None))
    assert table.unsupported["rtl"] == table.unsupported["hls"] == ()
    assert [row.weights for row in table.nodes if row.op == "linear"] == ["-1 to 1"] * 4


def test_several_outputs_and_nothing_to_multiply() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.relu(), x + 1.0

    table = layer_table(finish_counting(read_module(Two().eval(), (1, 4), "two")))
    assert [str(found) for found in table.unsupported["rtl"]] == [
        "the network has 1 inputs and 2 outputs; hardware has one stream in and one out"
    ]
    assert [str(found) for found in table.unsupported["simulate"]] == [
        "no layer multiplies, so there is nothing to simulate"
    ]
