"""HashedNets: few values a layer, trained behind the hash."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from bitkiln.ir import Builder, Float, TensorType, ToolError, encode_kiln
from bitkiln.ir.ops import Linear, Relu
from bitkiln.passes import (
    Context,
    HashStart,
    HashWeights,
    LayerHash,
    Share,
    Tune,
    accuracy,
    read_passes,
    run_passes,
    unshare,
)
from tests.passes.networks import context, mlp


def test_the_published_number_of_parameters() -> None:
    """784-1000-10 at 1/64 has 12,406 of them (Chen et al., ICML 2015), biases aside."""
    build = Builder("mnist")
    x = build.input("x", TensorType((1, 784), Float()))
    first = build.constant("w1", TensorType((1000, 784), Float()), torch.randn(1000, 784))
    second = build.constant("w2", TensorType((10, 1000), Float()), torch.randn(10, 1000))
    hidden = build.add(Relu(), (build.add(Linear(), (x, first), "fc1"),), "relu")
    graph = build.graph((build.add(Linear(), (hidden, second), "fc2"),))
    found = run_passes(graph, (HashWeights(1 / 64),), context(graph))
    assert found.params == 12_406
    assert len(encode_kiln(found)) < 4 * 12_406 + 400


def test_layers_and_seeds() -> None:
    graph = mlp((8, 16, 4))
    step = HashWeights(0.25, (LayerHash("fc2", 1.0),), seed=5)
    found = run_passes(graph, (step,), context(graph))
    assert (found.types["fc1.weight"].shape, found.types["fc2.weight"].shape) == ((32,), (4, 16))
    again = run_passes(graph, (step,), context(graph))
    assert torch.equal(again.const["fc1.weight"].data, found.const["fc1.weight"].data)
    other = run_passes(graph, (HashWeights(0.25, (LayerHash("fc2", 1.0),), seed=6),), context(graph))
    assert other.node["fc1.weight.hashed"].op != found.node["fc1.weight.hashed"].op


def test_the_projection_is_the_nearest_one() -> None:
    graph = mlp((8, 16, 4))
    found = run_passes(graph, (HashWeights(0.25, start=HashStart.PROJECTED),), context(graph))
    table = found.const["fc1.weight"].data
    left = unshare(found).const["fc1.weight"].data - graph.const["fc1.weight"].data
    for place in range(len(table)):
        moved = table.clone()
        moved[place] += 0.01
        op = found.node["fc1.weight.hashed"].op
        assert float((op.evaluate(moved) - graph.const["fc1.weight"].data).square().sum()) >= float(left.square().sum())


def test_it_learns_digits() -> None:
    """64-100-10 with an eighth of its weights."""
    digits = load_digits()
    x, y = torch.from_numpy(digits.data / 16).float(), torch.from_numpy(digits.target)
    graph = mlp((64, 100, 10))
    setup = Context(x[:64], x[:1300], y[:1300], 0, graph)
    found = run_passes(graph, (HashWeights(0.125), Tune(epochs=12, learning_rate=0.01)), setup)
    assert accuracy(found, x[1300:], y[1300:]) > 0.88


def test_what_is_refused() -> None:
    for density, shown in ((0.0, "0"), (1.5, "1.5")):
        with pytest.raises(ToolError, match=f"density must be above 0 and at most 1, not {shown}"):
            read_passes([{"name": "hash_weights", "density": density}], "here")
    with pytest.raises(ToolError, match="No layer of tiny with weights matches 'conv1'"):
        run_passes(mlp((8, 3)), (HashWeights(layers=(LayerHash("conv1", 0.5),)),), context(mlp((8, 3))))
    with pytest.raises(ToolError, match="seed must be from 0"):
        HashWeights(seed=-1)
    with pytest.raises(ToolError, match="hash_weights works on weights that are floats"):
        run_passes(mlp((8, 3)), (Share(2), HashWeights()), context(mlp((8, 3))))
