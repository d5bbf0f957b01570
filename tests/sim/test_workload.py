"""Layers: their sizes, and what no layer can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from bitkiln.ir import ToolError
from bitkiln.sim.workload import Layer, LayerKind, Workload
from tests.sim.networks import convolution, layers, matrix


@given(layers())
def test_sizes_are_those_of_torch(layer: Layer) -> None:
    layer = replace(layer, is_rounded_up=False)
    (top, bottom), (left, right) = layer.padding
    x = F.pad(torch.zeros(layer.batch, layer.channels, layer.height, layer.width), (left, right, top, bottom))
    weight = torch.zeros(layer.filters, layer.channels // layer.groups, *layer.kernel)
    y = F.conv2d(x, weight, stride=layer.stride, dilation=layer.dilation, groups=layer.groups)
    assert y.shape == (layer.batch, layer.filters, *layer.output)
    assert weight.numel() == layer.weight_count
    assert y.numel() == layer.output_count
    assert layer.macs == y.numel() * weight[0].numel()
    assert layer.macs == layer.groups * layer.positions * layer.taps * layer.group_filters


def test_output_rounded_up_is_that_of_the_topology_files() -> None:
    assert convolution(224, 3, 96, 11, 4).output == (54, 54)
    assert replace(convolution(224, 3, 96, 11, 4), is_rounded_up=True).output == (55, 55)
    assert replace(convolution(227, 3, 96, 11, 4), is_rounded_up=True).output == (55, 55)


def test_depthwise_is_one_filter_a_channel() -> None:
    layer = convolution(14, 512, 512, 3, padding=1, groups=512)
    assert (layer.is_depthwise, layer.taps, layer.group_filters) == (True, 9, 1)
    assert not convolution(14, 512, 512, 3, groups=2).is_depthwise


def test_density_is_given_or_counted() -> None:
    layer = matrix(1, 4, 2)
    assert (layer.weight_density, layer.activation_density) == (1.0, 1.0)
    values = np.array([[0, 1, 0, 2], [0, 0, 0, 3]], np.float32)
    assert replace(layer, weights=values).weight_density == 3 / 8
    assert replace(layer, weights=values, given_weight_density=0.5).weight_density == 0.5


def test_another_batch_keeps_the_weights_only() -> None:
    layer = replace(matrix(1, 4, 2), activations=np.ones((1, 4, 1, 1), np.float32), weights=np.ones((2, 4), np.float32))
    four = layer.with_batch(4)
    assert (four.batch, four.positions, four.activations) == (4, 4, None)
    assert four.weights is layer.weights
    assert layer.with_batch(1).activations is layer.activations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "layer conv: height must be at least 1, not 0"),
        ({"filters": -3}, "layer conv: filters must be at least 1, not -3"),
        ({"stride": (1, 0)}, "layer conv: stride width must be at least 1, not 0"),
        ({"weight_bits": 0}, "layer conv: weight_bits must be at least 1, not 0"),
        ({"padding": ((0, -1), (0, 0))}, "layer conv: padding must not be negative, but is ((0, -1), (0, 0))"),
        ({"groups": 3}, "layer conv: 4 channels and 6 filters do not divide into 3 groups"),
        ({"kernel": (3, 9)}, "layer conv: the kernel of 3x9 is larger than the padded input of 8x8"),
        ({"given_weight_density": 1.5}, "layer conv: the weight density must be between 0 and 1, not 1.5"),
        ({"given_activation_density": -0.1}, "layer conv: the activation density must be between 0 and 1, not -0.1"),
    ],
)
def test_what_is_no_layer(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError) as error:
        replace(convolution(8, 4, 6, 3), **change)
    assert str(error.value) == f"error[bad-layer]: {message}"


def test_a_network_without_products_is_nothing_to_simulate() -> None:
    with pytest.raises(ToolError) as error:
        Workload("relu", ())
    message = "relu has no layer that multiplies: there is nothing to simulate"
    assert str(error.value) == f"error[empty-workload]: {message}"


def test_kinds_are_told_apart_by_name_alone() -> None:
    as_matrix = matrix(5, 7, 3)
    as_convolution = replace(as_matrix, kind=LayerKind.CONVOLUTION)
    assert (as_matrix.macs, as_matrix.output) == (as_convolution.macs, (5, 1))
