"""Structured pruning: how much of what goes, by which criterion, and what is refused."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch

from bitkiln.ir import Graph, ToolError, evaluate
from bitkiln.ir.ops import Reshape
from bitkiln.passes import (
    Criterion,
    LayerChannels,
    PruneChannels,
    Quantise,
    Scope,
    Share,
    groups,
    read_passes,
)
from tests.passes.channel_networks import CoupledNetwork
from tests.passes.networks import context, mlp, samples


def widths(graph: Graph) -> list[int]:
    return [graph.types[f"fc{i}.weight"].shape[0] for i in (1, 2, 3)]


def pruned(graph: Graph, step: PruneChannels) -> Graph:
    return step.run(graph, context(graph))


def test_each_group_keeps_its_share() -> None:
    assert widths(pruned(mlp((6, 20, 10, 3)), PruneChannels(0.5))) == [10, 5, 3]


def test_layers_have_densities_of_their_own() -> None:
    step = PruneChannels(0.5, (LayerChannels("fc*", 0.2), LayerChannels("layers.fc1", 1.0)))
    assert widths(pruned(mlp((6, 20, 10, 3)), step)) == [20, 2, 3]


def test_counts_are_rounded_to_multiples() -> None:
    assert widths(pruned(mlp((6, 20, 10, 3)), PruneChannels(0.45, round_to=4))) == [8, 4, 3]
    assert widths(pruned(mlp((6, 20, 10, 3)), PruneChannels(0.05, round_to=8))) == [8, 8, 3]
    assert widths(pruned(mlp((6, 20, 7, 3)), PruneChannels(0.9, round_to=8))) == [16, 7, 3]


@pytest.mark.parametrize("criterion", [Criterion.L1, Criterion.L2])
def test_the_weakest_channels_go(criterion: Criterion) -> None:
    graph = mlp((6, 8, 4, 3))
    graph.const["fc1.weight"].data[[0, 3]] *= 1e-3
    small = pruned(graph, PruneChannels(0.75, (LayerChannels("fc2", 1.0),), criterion))
    assert torch.equal(small.const["fc1.weight"].data, graph.const["fc1.weight"].data[[1, 2, 4, 5, 6, 7]])


def test_taylor_sees_what_the_loss_does_not_need() -> None:
    """Two neurons with large weights that hardly reach the output go; the norms would keep them."""
    graph = mlp((6, 8, 3))
    graph.const["fc1.weight"].data[[2, 5]] *= 10
    graph.const["fc2.weight"].data[:, [2, 5]] *= 1e-4
    small = pruned(graph, PruneChannels(0.75, criterion=Criterion.TAYLOR))
    assert torch.equal(small.const["fc1.weight"].data, graph.const["fc1.weight"].data[[0, 1, 3, 4, 6, 7]])
    x = samples(graph)
    torch.testing.assert_close(evaluate(small, x)[0], evaluate(graph, x)[0], atol=0.02, rtol=0)


def test_chance_depends_on_the_seed_alone() -> None:
    graph = mlp((6, 20, 3))
    kept = [pruned(graph, PruneChannels(0.5, criterion=Criterion.RANDOM, seed=seed)) for seed in (1, 1, 2)]
    first, second, third = (small.const["fc1.bias"].data for small in kept)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_groups_compete_everywhere() -> None:
    graph = mlp((6, 20, 20, 3))
    graph.const["fc1.weight"].data[5:] *= 1e-3  # fc2's channels are alike, fc1 has five that matter
    found = widths(pruned(graph, PruneChannels(0.5, scope=Scope.GLOBAL)))
    assert sum(found) == 20 + 3
    assert found[0] == 5
    named = PruneChannels(0.5, (LayerChannels("fc1", 1.0),), scope=Scope.GLOBAL)
    assert widths(pruned(graph, named)) == [20, 10, 3]
    together = PruneChannels(1.0, (LayerChannels("fc?", 0.5),), scope=Scope.GROUP)
    assert widths(pruned(graph, together)) == found


def test_nothing_to_cut_is_the_same_graph() -> None:
    graph = mlp((6, 3))
    assert pruned(graph, PruneChannels(0.5)) is graph


def test_reads_options() -> None:
    table = {"name": "prune_channels", "density": 0.3, "criterion": "taylor", "scope": "global", "round_to": 8}
    (step,) = read_passes([{**table, "layers": [{"layer": "conv*", "density": 1.0}]}], "here")
    layers = (LayerChannels("conv*", 1.0),)
    assert step == PruneChannels(0.3, layers, Criterion.TAYLOR, Scope.GLOBAL, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "density must be above 0 and at most 1, not 0"),
        ({"density": 1.5}, "density must be above 0 and at most 1, not 1.5"),
        ({"round_to": 0}, "round_to must be at least 1, not 0"),
        ({"samples": 0}, "samples must be at least 1, not 0"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        read_passes([{"name": "prune_channels", **options}], "here")


def test_an_unknown_layer_lists_near_ones() -> None:
    with pytest.raises(ToolError, match="No layer of tiny with weights matches 'fc9'\n  help: did you mean fc2 or fc1"):
        pruned(mlp((6, 8, 3)), PruneChannels(layers=(LayerChannels("fc9", 0.5),)))


def test_outputs_cannot_be_named() -> None:
    with pytest.raises(ToolError, match="the channels of %fc2 cannot be cut: they reach an output") as caught:
        pruned(mlp((6, 8, 3)), PruneChannels(layers=(LayerChannels("fc2", 0.5),)))
    assert caught.value.diagnostics[0].slug == "cannot-prune"


def test_codes_and_shared_weights_are_refused() -> None:
    graph = mlp((6, 8, 3))
    for step, why in ((Quantise(), "is fixed point already"), (Share(2), "are shared already")):
        late = step.run(graph, context(graph))
        with pytest.raises(ToolError, match=why):
            PruneChannels().run(late, context(graph))


def test_everything_that_couples_channels_at_once() -> None:
    network = CoupledNetwork((2, 6, 6))
    x = network.conv(network.x, 6, "first", size=1)
    for kind in range(8):
        x = network.block(x, kind, f"block{kind}")
    width = network.width(x)
    graph = network.graph(network.linear(network.op(Reshape((1, width * 36)), x), 3, "head"))
    small = pruned(graph, PruneChannels(0.5, criterion=Criterion.TAYLOR))
    assert small.params < 0.45 * graph.params
    assert evaluate(small, samples(graph, 3))[0].shape == (3, 3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "shufflenet_v2_x0_5"])
def test_torchvision(name: str) -> None:
    """The cut network verifies and runs; its parameters and work are those that the listing of groups predicts."""
    from bitkiln.frontend.torch_import import import_module  # noqa: PLC0415
    from tests.frontend.torchvision_reference import random_network  # noqa: PLC0415

    warnings.simplefilter("ignore")
    graph = import_module(random_network(name), (1, 3, 64, 64), name)
    small = pruned(graph, PruneChannels(0.5))
    shapes = {const.name: list(const.type.shape) for const in graph.consts}
    done: set[tuple[str, int, str]] = set()
    for group in groups(graph):
        for member in group.members:
            if (member.const, member.axis, group.name) not in done:
                done.add((member.const, member.axis, group.name))
                shapes[member.const][member.axis] -= member.count * (group.size - max(1, round(group.size * 0.5)))
    assert {const.name: list(const.type.shape) for const in small.consts} == shapes
    for node in small.nodes:
        if node.op.name == "conv2d":
            positions = node.type.elements // node.type.shape[1]
            assert small.macs(node) == positions * small.types[node.args[1]].elements
    assert small.total_macs < 0.5 * graph.total_macs
    assert evaluate(small, torch.randn(2, 3, 64, 64))[0].shape == (2, 1000)
