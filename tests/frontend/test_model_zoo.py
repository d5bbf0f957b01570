"""References to networks of installed packages."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from torch import nn

from bitkiln.frontend.model_zoo import is_zoo_reference, load_zoo_model
from bitkiln.ir import ToolError

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")  # torchvision warns of its missing library


def refusal(reference: str) -> str:
    with pytest.raises(ToolError) as caught:
        load_zoo_model(reference)
    return str(caught.value)


def test_which_references_are_meant() -> None:
    assert is_zoo_reference("torchvision:resnet18(num_classes=10)")
    assert is_zoo_reference("timm:resnet18")
    assert not is_zoo_reference("model.py:build")
    assert not is_zoo_reference("net.pt2")


@needs_torchvision
def test_a_network_with_arguments_in_evaluation_mode() -> None:
    first, second = (load_zoo_model("torchvision:squeezenet1_1(num_classes=7)") for _ in range(2))
    assert not first.training
    convolutions = [child for child in first.modules() if isinstance(child, nn.Conv2d)]
    assert convolutions[-1].out_channels == 7
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@needs_torchvision
def test_an_unknown_network_lists_the_near_ones() -> None:
    assert "error[unknown-model]: torchvision has no model 'resnet1'\n  help: did you mean resnet18" in refusal(
        "torchvision:resnet1"
    )


@needs_torchvision
def test_an_argument_that_the_network_does_not_take() -> None:
    assert refusal("torchvision:resnet18(colour='red')").startswith(
        "error[model-raised]: torchvision's resnet18 raises TypeError"
    )


@pytest.mark.parametrize("arguments", ["open('x')", "3", "a=b", "**{}", "a=1)(", "a=", "(" * 300])
def test_arguments_are_literals(arguments: str) -> None:
    assert refusal(f"torchvision:resnet18({arguments})").startswith("error[bad-model-reference]: ")


@pytest.mark.parametrize("reference", ["torchvision:", "torchvision", "zoo:resnet18", "torchvision:a b"])
def test_other_forms(reference: str) -> None:
    assert "A network is named as torchvision:resnet18" in refusal(reference)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_missing_package() -> None:
    assert refusal("timm:resnet18") == "error[missing-package]: timm is not installed\n  help: pip install timm"
