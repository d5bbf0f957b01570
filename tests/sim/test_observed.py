"""Layers with the values of real samples, against what torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Graph, ToolError, evaluate
from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.graph_workload import workload_of
from bitkiln.sim.observed import with_activations
from bitkiln.sim.simulate import simulate
from bitkiln.sim.technologies import find_technology


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    return torch.rand(3, 1, 10, 10, generator=torch.Generator().manual_seed(1))


def test_layers_see_what_the_graph_computes(float_graph: Graph, samples: torch.Tensor) -> None:
    workload = with_activations(workload_of(float_graph, 3), float_graph, samples)
    conv, fc = workload.layers
    assert conv.activations is not None
    assert fc.activations is not None
    assert (conv.activations == samples.numpy()).all()
    weight = float_graph.const[float_graph.node[fc.name].args[1]].data
    bias = float_graph.const[float_graph.node[fc.name].args[2]].data
    expected = evaluate(float_graph, samples)[0]
    found = torch.from_numpy(fc.activations[:, :, 0, 0]) @ weight.T + bias
    assert torch.allclose(found, expected, atol=1e-6)


def test_zeros_of_the_samples_are_skipped(quantised_graph: Graph, samples: torch.Tensor) -> None:
    """Products of two non-zeros, counted with torch on codes: what the engine performs."""
    workload = with_activations(workload_of(quantised_graph, 3), quantised_graph, samples)
    found = simulate(workload, find_accelerator("zero-skip"), find_technology("45nm"))
    for layer, run in zip(workload.layers, found.runs, strict=True):
        assert layer.weights is not None
        assert layer.activations is not None
        w, x = (torch.from_numpy(np.asarray(values != 0, np.float32)) for values in (layer.weights, layer.activations))
        w = w.reshape(layer.filters, layer.channels, *layer.kernel)
        pairs = torch.nn.functional.conv2d(
            x, w, stride=layer.stride, padding=(layer.padding[0][0], layer.padding[1][0])
        )
        assert run.performed_macs == int(pairs.sum())
        assert layer.activation_density < 1


def test_fewer_samples_than_images_are_refused(float_graph: Graph, samples: torch.Tensor) -> None:
    with pytest.raises(ToolError) as error:
        with_activations(workload_of(float_graph, 4), float_graph, samples)
    assert str(error.value.diagnostics[0]) == ("error[too-few-samples]: a batch of 4 needs as many samples, not 3")
