from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, ToolError, evaluate, known_names
from bitkiln.ir.ops import Linear
from bitkiln.passes import Context, Curve, GradualPrune, LayerDensity, Prune, Quantise, Scope, Share, Tune

from .networks import Network, context, mlp, samples


def pruned(graph: Graph, options: Prune) -> Graph:
    return options.run(graph, context(graph))


def left(graph: Graph) -> dict[str, int]:
    return {const.name: int((const.data != 0).sum()) for const in graph.consts if const.type.shape[1:]}


def one_layer(weight: list[list[float]]) -> Graph:
    network = Network((len(weight[0]),))
    return network.graph(network.op(Linear(), network.x, network.const("w", torch.tensor(weight))))


def test_the_largest_magnitudes_stay() -> None:
    graph = one_layer([[0.1, -3.0, 0.5], [-0.2, 2.0, 0.4]])
    result = pruned(graph, Prune(density=0.5))
    assert result.const["w"].data.tolist() == [[0.0, -3.0, 0.5], [0.0, 2.0, 0.0]]
    assert pruned(result, Prune(density=0.5)).const["w"].data.tolist() == result.const["w"].data.tolist()


def test_of_equal_magnitudes_the_first_stay() -> None:
    graph = one_layer([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
    assert pruned(graph, Prune(density=0.5)).const["w"].data.tolist() == [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]


def test_at_least_one_weight_stays() -> None:
    assert pruned(one_layer([[0.1, 0.3]]), Prune(density=1e-9)).const["w"].data.tolist() == [[0.0, 0.30000001192092896]]


def test_densities_by_layer_the_last_entry_counts() -> None:
    graph = mlp((10, 20, 10, 5))
    options = Prune(0.5, layers=(LayerDensity("fc*", 0.2), LayerDensity("fc2", 0.1), LayerDensity("layers.fc3")))
    assert left(pruned(graph, options)) == {"fc1.weight": 40, "fc2.weight": 20, "fc3.weight": 50}
    assert left(pruned(graph, Prune(0.25))) == {"fc1.weight": 50, "fc2.weight": 50, "fc3.weight": 12}


def scaled(graph: Graph, name: str, factor: float) -> Graph:
    consts = (replace(const, data=const.data * factor) if const.name == name else const for const in graph.consts)
    return replace(graph, consts=tuple(consts))


def test_scopes() -> None:
    graph = scaled(mlp((10, 20, 10, 5)), "fc3.weight", 100.0)
    everything = left(pruned(graph, Prune(0.1, scope=Scope.GLOBAL)))
    assert sum(everything.values()) == 45
    assert everything["fc3.weight"] == 45
    groups = (LayerDensity("fc[12]", 0.1),)
    by_group = left(pruned(graph, Prune(0.2, layers=groups, scope=Scope.GROUP)))
    assert by_group["fc1.weight"] + by_group["fc2.weight"] == 40
    assert by_group["fc3.weight"] == 10
    assert left(pruned(graph, Prune(0.1))) == {"fc1.weight": 20, "fc2.weight": 20, "fc3.weight": 5}


def test_a_threshold_is_a_multiple_of_the_standard_deviation() -> None:
    weight = torch.randn(50, 40, generator=torch.Generator().manual_seed(3)) * 0.3
    graph = one_layer(weight.tolist())
    result = pruned(graph, Prune(quality=1.5, scope=Scope.GLOBAL)).const["w"].data
    assert torch.equal(result != 0, weight.abs() >= 1.5 * weight.double().std(correction=0))
    layers = (LayerDensity("linear", quality=0.0),)
    assert left(pruned(graph, Prune(density=0.1, layers=layers))) == {"w": 2000}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prune(0.0), "error[number-range]: density must be above 0 and at most 1, not 0"),
        (lambda: Prune(1.5), "error[number-range]: density must be above 0 and at most 1, not 1.5"),
        (lambda: Prune(float("nan")), "error[number-range]: density must be above 0 and at most 1, not nan"),
        (lambda: Prune(quality=-1), "error[number-range]: quality must be at least 0, not -1"),
        (
            lambda: LayerDensity("fc1", -0.5),
            "error[number-range]: density of the layers 'fc1' must be above 0 and at most 1, not -0.5",
        ),
        (
            lambda: LayerDensity("fc1", 0.5, 1.0),
            "error[bad-value]: the layers 'fc1' have a density or a quality, not both",
        ),
        (lambda: GradualPrune(steps=0), "error[number-range]: steps must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        make()
    assert str(caught.value) == message


def test_unknown_layers_are_named_with_near_ones() -> None:
    with pytest.raises(ToolError) as caught:
        pruned(mlp(), Prune(layers=(LayerDensity("fc11", 0.1), LayerDensity("fc1", 0.1))))
    assert str(caught.value) == (
        "error[unknown-layer]: No layer of tiny with weights matches 'fc11'\n"
        f"  help: {known_names('fc11', ['fc1', 'fc2', 'layers.fc1', 'layers.fc2'])}"
    )


@pytest.mark.parametrize(("before", "why"), [(Share(2), "shared"), (Quantise(), "i8")])
def test_weights_that_are_no_floats(before: Share | Quantise, why: str) -> None:
    graph = mlp()
    unfit = before.run(graph, context(graph))
    with pytest.raises(ToolError, match="cannot-prune") as caught:
        Prune().run(unfit, context(graph))
    assert f"the weights of %fc1 are {why}" in str(caught.value)
    assert "put prune before share and quantise" in str(caught.value)


def test_curves() -> None:
    assert [Curve.GEOMETRIC.density(0.0625, k / 4) for k in range(5)] == [1.0, 0.5, 0.25, 0.125, 0.0625]
    assert [Curve.CUBIC.density(0.2, k / 2) for k in range(3)] == [1.0, 1.0 - 0.8 * 0.875, pytest.approx(0.2)]


def task() -> tuple[Graph, Tensor, Tensor]:
    """A network that knows its classes, and samples of them."""
    graph = mlp((8, 32, 4), seed=5)
    x = samples(graph, 400)
    y = evaluate(mlp((8, 6, 4), seed=9), x)[0].argmax(1)
    return Tune(epochs=15, learning_rate=1e-2).run(graph, context(graph, x, y)), x, y


def test_gradual_pruning_is_better_than_pruning_at_once() -> None:
    graph, x, y = task()
    goal = Prune(density=0.2, layers=(LayerDensity("fc2", 0.5),))
    tune = Tune(epochs=5, learning_rate=1e-2)
    labels: list[str] = []
    watched = replace(context(graph, x, y), progress=lambda label, part: labels.append(label))
    result = GradualPrune(goal, tune, steps=4, last=replace(tune, epochs=8)).run(graph, watched)
    assert left(result) == {"fc1.weight": 51, "fc2.weight": 64}
    assert labels[0] == "prune 1/4, tune"
    assert labels[-1].startswith("prune 4/4, tune 8/8: loss ")
    at_once = goal.run(graph, watched)

    def right(graph: Graph) -> float:
        return float((evaluate(graph, x)[0].argmax(1) == y).double().mean())

    assert right(result) > right(at_once) + 0.05


def test_gradual_pruning_by_quality() -> None:
    graph, x, y = task()
    result = GradualPrune(Prune(quality=1.0), Tune(epochs=1), steps=2).run(graph, Context(x, x, y, 0, graph))
    assert 30 < left(result)["fc1.weight"] < 150
