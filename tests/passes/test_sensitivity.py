"""The sensitivity scan, and the choice of densities from it."""

from __future__ import annotations

import itertools
import tomllib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Graph, ToolError, evaluate
from bitkiln.passes import LayerDensity, Prune, Share, accuracy, read_passes
from bitkiln.passes.sensitivity import (
    LayerSensitivity,
    Point,
    Sensitivity,
    choose_densities,
    prune_entries,
    scan,
)
from tests.passes.networks import context, mlp, samples


def labelled(graph: Graph, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples with the network's own answers as labels: it is always right."""
    x = samples(graph, count)
    return x, evaluate(graph, x)[0].argmax(1)


def test_each_layer_is_pruned_alone() -> None:
    graph = mlp((16, 24, 12, 4))
    x, y = labelled(graph)
    found = scan(graph, x, y, densities=(0.1, 0.5, 1.0))
    assert (found.images, found.correct) == (200, 200)
    assert [(layer.name, layer.weights, layer.macs) for layer in found.layers] == [
        ("fc1", 384, 384),
        ("fc2", 288, 288),
        ("fc3", 48, 48),
    ]
    for layer in found.layers:
        for point in layer.densities:
            step = Prune(1.0, layers=(LayerDensity(layer.name, point.value),))
            assert point.correct / 200 == accuracy(step.run(graph, context(graph)), x, y)
        assert layer.densities[-1].correct == 200
        assert layer.densities[0].correct < layer.densities[1].correct


def test_bits_round_the_weights() -> None:
    graph = mlp((16, 24, 4))
    x, y = labelled(graph)
    found = scan(graph, x, y, densities=(), bits=(1, 2, 4, 8))
    for layer in found.layers:
        assert layer.densities == ()
        counts = [point.correct for point in layer.bits]
        assert counts[0] < counts[2] <= counts[3]
        assert counts[3] >= 198


def loss_of(table: Sensitivity, choice: tuple[Point, ...]) -> int:
    return sum(max(0, table.correct - point.correct) for point in choice)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.lists(st.integers(70, 100), min_size=3, max_size=3), min_size=1, max_size=3),
    weights=st.lists(st.integers(1, 1000), min_size=3, max_size=3),
    budget=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
)
def test_no_other_combination_keeps_fewer_weights(counts: list[list[int]], weights: list[int], budget: float) -> None:
    layers = tuple(
        LayerSensitivity(f"fc{i}", weights[i], 1, tuple(map(Point, (0.1, 0.3, 0.6), row)), ())
        for i, row in enumerate(counts)
    )
    table = Sensitivity(100, 95, layers)
    found = choose_densities(table, budget)
    options = [(Point(1.0, 95), *layer.densities) for layer in layers]
    allowed = [choice for choice in itertools.product(*options) if loss_of(table, choice) <= budget * 100 + 1e-9]
    least = min(sum(p.value * layer.weights for p, layer in zip(c, layers, strict=True)) for c in allowed)
    assert sum(found[layer.name] * layer.weights for layer in layers) == pytest.approx(least)


def test_the_choice_is_an_entry_of_a_recipe() -> None:
    graph = mlp((16, 24, 12, 4))
    x, y = labelled(graph)
    found = choose_densities(scan(graph, x, y), 0.2)
    step, text = prune_entries(found)
    (read,) = read_passes(tomllib.loads(text)["passes"], "project.toml")
    assert read == step
    assert any(entry.density != 1.0 for entry in step.layers)
    assert accuracy(step.run(graph, context(graph)), x, y) > 0.6  # the losses were measured one at a time


@pytest.mark.parametrize(
    ("densities", "bits", "message"),
    [
        ((0.0,), (), "a density to scan must be above 0 and at most 1, not 0"),
        ((1.5,), (), "a density to scan must be above 0 and at most 1, not 1.5"),
        ((), (0,), r"bits to scan must be from 1 to 16, not \[0\]"),
    ],
)
def test_wrong_options(densities: tuple[float, ...], bits: tuple[int, ...], message: str) -> None:
    graph = mlp((4, 3))
    x, y = labelled(graph, 8)
    with pytest.raises(ToolError, match=message):
        scan(graph, x, y, densities, bits)


def test_what_cannot_be_scanned() -> None:
    graph = mlp((8, 16, 3))
    x, y = labelled(graph, 8)
    with pytest.raises(ToolError, match="are shared"):
        scan(Share(2).run(graph, context(graph)), x, y)
    with pytest.raises(ToolError, match="budget must be at least 0 and below 1, not 1"):
        choose_densities(Sensitivity(10, 10, ()), 1.0)
