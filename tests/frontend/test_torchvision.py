"""torchvision's networks: published counts, and outputs equal to eager PyTorch. Small ones here, all of them in
benchmarks/import_torchvision.py."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from bitkiln.frontend.layer_table import shape_table
from bitkiln.frontend.torch_import import import_module
from bitkiln.frontend.torchvision_shim import SkipInitialisation, torchvision_model
from bitkiln.ir import ToolError
from tests.frontend.micro_models import assert_equal_to_eager
from tests.frontend.torchvision_reference import read_references

pytestmark = pytest.mark.slow
if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

COUNTED = (
    *("alexnet", "googlenet", "mnasnet0_5", "regnet_y_400mf", "resnet18", "squeezenet1_0"),
    *("swin_v2_t", "vit_b_32", "lraspp_mobilenet_v3_large"),
)
# Name and image size: as small as the architecture allows, because eager PyTorch runs it too.
COMPARED = (
    *(("densenet121", 64), ("efficientnet_b0", 64), ("googlenet", 64), ("mobilenet_v3_small", 64)),
    *(("shufflenet_v2_x0_5", 64), ("convnext_tiny", 64), ("swin_t", 64), ("vit_b_32", 224)),
)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")  # torchvision announces changes of its defaults


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_those_published(name: str, shared_data: Path) -> None:
    (reference,) = (known for known in read_references(shared_data) if known.name == name)
    with SkipInitialisation():
        module = torchvision_model(name, **dict(reference.arguments))
    table = shape_table(module, reference.input_shape, name)
    assert reference.agrees(table.params, table.macs), (table.params, table.macs)


def randomised(name: str) -> nn.Module:
    """Weights and statistics that leave no branch near zero (layer scales and heads start there)."""
    arguments = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module = torchvision_model(name, **arguments)
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.BatchNorm2d):
                assert child.running_mean is not None
                assert child.running_var is not None
                child.running_mean.normal_(0, 0.1)
                child.running_var.uniform_(0.8, 1.2)
        for parameter in module.parameters():
            if parameter.dim() <= 1 or float(parameter.abs().max()) < 1e-4:
                parameter.normal_(1 if parameter.dim() == 1 else 0, 0.1)
    return module


@pytest.mark.parametrize(("name", "size"), COMPARED)
def test_outputs_are_those_of_eager_pytorch(name: str, size: int) -> None:
    module = randomised(name)
    graph = import_module(module, (1, 3, size, size), name)
    assert_equal_to_eager(graph, module, torch.randn(2, 3, size, size))


def test_an_unknown_network_lists_the_near_ones() -> None:
    with pytest.raises(ToolError, match="did you mean resnet18"):
        torchvision_model("resnet1")
