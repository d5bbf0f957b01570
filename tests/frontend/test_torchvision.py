"""torchvision's networks: published counts, and outputs equal to eager PyTorch. Small ones here, all of them in
benchmarks/import_torchvision.py."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest
import torch

from bitkiln.frontend.layer_table import shape_table
from bitkiln.frontend.torch_import import import_module
from bitkiln.frontend.torchvision_shim import SkipInitialisation, torchvision_model
from bitkiln.ir import ToolError
from tests.frontend.micro_models import assert_equal_to_eager
from tests.frontend.torchvision_reference import SMALL_SIZES, random_network, read_references

pytestmark = pytest.mark.slow
if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

COUNTED = (
    *("alexnet", "googlenet", "mnasnet0_5", "regnet_y_400mf", "resnet18", "squeezenet1_0"),
    *("swin_v2_t", "vit_b_32", "lraspp_mobilenet_v3_large"),
)
COMPARED = (
    *("densenet121", "efficientnet_b0", "mobilenet_v3_small"),
    *("shufflenet_v2_x0_5", "convnext_tiny", "swin_t", "vit_b_32"),
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


@pytest.mark.parametrize("name", COMPARED)
def test_outputs_are_those_of_eager_pytorch(name: str) -> None:
    module, size = random_network(name), SMALL_SIZES[name]
    graph = import_module(module, (1, 3, size, size), name)
    assert_equal_to_eager(graph, module, torch.randn(2, 3, size, size))


def test_an_unknown_network_lists_the_near_ones() -> None:
    with pytest.raises(ToolError, match="did you mean resnet18"):
        torchvision_model("resnet1")
