from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, ToolError, evaluate, print_graph
from bitkiln.ir.ops import Linear
from bitkiln.passes import Initialisation, LayerShare, Quantise, Share, Tune, canonicalise, run_passes
from bitkiln.passes._shared import unshare
from bitkiln.sim.graph_workload import workload_of

from .networks import Network, context, mlp, samples


def weights(graph: Graph) -> dict[str, Tensor]:
    """The values that each layer computes with, by the name of its weights."""
    decoded = [name.removesuffix(".decoded") for name in graph.node if name.endswith(".decoded")]
    made = replace(graph, outputs=tuple(f"{name}.decoded" for name in decoded))
    return dict(zip(decoded, evaluate(made, samples(graph, 1)), strict=True))


def pruned(graph: Graph, name: str, below: float) -> Graph:
    """The graph with the small weights of one constant at 0."""
    consts = tuple(
        replace(const, data=torch.where(const.data.abs() < below, 0, const.data)) if const.name == name else const
        for const in graph.consts
    )
    return replace(graph, consts=consts)


def shared(graph: Graph, step: Share) -> Graph:
    return run_passes(graph, (step,), context(graph))


def test_text_of_a_shared_layer() -> None:
    found = shared(mlp((2, 8)), Share(2))
    assert print_graph(found) == (
        "graph tiny\n"
        "%x = input : f32[1,2]\n"
        "%fc1.weight = const : codebook2(f32)[8,2]\n"
        "%fc1.bias = const : f32[8]\n"
        "%fc1.weight.table = const : f32[4]\n"
        '%fc1.weight.decoded = decode(%fc1.weight, %fc1.weight.table) : f32[8,2] @ "model.py":7 "layers.fc1"\n'
        '%fc1 = linear(%x, %fc1.weight.decoded, %fc1.bias) : f32[1,8] @ "model.py":7 "layers.fc1"\n'
        "return %fc1\n"
    )


@pytest.mark.parametrize("initialisation", Initialisation)
@pytest.mark.parametrize("bits", [1, 3, 4])
def test_every_weight_takes_its_nearest_centroid(initialisation: Initialisation, bits: int) -> None:
    graph = mlp((20, 30, 10))
    found = shared(graph, Share(bits, initialisation=initialisation))
    for name, values in weights(found).items():
        table = found.const[f"{name}.table"].data
        assert len(table) == 1 << bits
        assert set(values.unique().tolist()) == set(table.tolist())
        nearest = (graph.const[name].data.reshape(-1, 1) - table).abs().amin(1)
        assert torch.equal((values - graph.const[name].data).abs().reshape(-1), nearest)
    for bias in ("fc1.bias", "fc2.bias"):
        assert torch.equal(found.const[bias].data, graph.const[bias].data)


def test_zeros_stay_zero_and_have_an_index_of_their_own() -> None:
    graph = pruned(mlp((20, 30, 10)), "fc1.weight", 0.15)
    found = shared(graph, Share(3))
    before, after = graph.const["fc1.weight"].data, weights(found)["fc1.weight"]
    assert torch.equal(after == 0, before == 0)
    assert torch.equal(found.const["fc1.weight"].data == 0, before == 0)
    assert [len(found.const[f"fc{i}.weight.table"].data) for i in (1, 2)] == [7, 8]


def test_more_bits_are_nearer() -> None:
    graph = mlp((40, 50))
    errors = [
        float((weights(shared(graph, Share(bits)))["fc1.weight"] - graph.const["fc1.weight"].data).square().sum())
        for bits in range(1, 9)
    ]
    assert sorted(errors, reverse=True) == errors
    assert errors[7] < errors[0] / 1000


def test_options_by_layer_and_the_last_one_counts() -> None:
    layers = (LayerShare("layers.*", 4), LayerShare("fc2", None), LayerShare("fc3", 2))
    found = shared(mlp((6, 8, 8, 8, 4)), Share(3, layers))
    numbers = [str(found.types[f"fc{i}.weight"].number) for i in range(1, 5)]
    assert numbers == ["codebook4(f32)", "f32", "codebook2(f32)", "codebook4(f32)"]


def test_small_layers_share_a_table() -> None:
    found = shared(mlp((8, 6, 5, 20, 30)), Share(3, (LayerShare("fc4", 5),), joint_below=150))
    tables = [node.args[1] for node in found.nodes if node.op.name == "decode"]
    assert tables == ["fc1.weight.table", "fc1.weight.table", "fc1.weight.table", "fc4.weight.table"]
    assert weights(found).keys() == {"fc1.weight", "fc2.weight", "fc3.weight", "fc4.weight"}
    everything = torch.cat([found.const[f"fc{i}.weight"].data.reshape(-1) for i in (1, 2, 3)])
    assert len(everything.unique()) == 8


def test_weights_that_two_layers_use_are_decoded_once() -> None:
    network = Network((6,))
    weight = network.const("w", network.random(6, 6))
    graph = network.graph(network.op(Linear(), network.op(Linear(), "x", weight, name="a"), weight, name="b"))
    found = shared(graph, Share(3))
    assert [node.op.name for node in found.nodes] == ["decode", "linear", "linear"]


def test_convolutions_are_shared_and_the_function_is_that_of_the_centroids() -> None:
    network = Network((3, 8, 8))
    graph = network.graph(network.conv(network.conv("x", 6, "conv1"), 4, "conv2"))
    found = shared(graph, Share(4))
    assert found.types["conv1.weight"].shape == (6, 3, 3, 3)
    rounded = replace(
        graph, consts=tuple(replace(const, data=weights(found).get(const.name, const.data)) for const in graph.consts)
    )
    x = samples(graph, 5)
    assert torch.equal(evaluate(found, x)[0], evaluate(rounded, x)[0])


def test_tuning_moves_centroids_by_summed_gradients_and_nothing_else() -> None:
    graph = pruned(mlp((6, 40, 3)), "fc1.weight", 0.1)
    start = shared(graph, Share(4))
    labels = samples(graph, 200)[:, 0].gt(0).long()
    tuned = run_passes(start, (Tune(epochs=3, learning_rate=1e-2),), context(start, samples(start, 200), labels))
    assert not torch.equal(tuned.const["fc1.weight.table"].data, start.const["fc1.weight.table"].data)
    for name in ("fc1.weight", "fc2.weight"):
        assert torch.equal(tuned.const[name].data, start.const[name].data)
    assert torch.equal(weights(tuned)["fc1.weight"] == 0, graph.const["fc1.weight"].data == 0)


def test_shared_weights_stay_shared_in_canonical_form() -> None:
    found = shared(mlp(), Share(2))
    assert print_graph(canonicalise(found)) == print_graph(found)


def test_quantise_takes_shared_weights_at_their_values() -> None:
    """They are rounded like others, so at most as many codes occur as there were centroids."""
    graph = mlp((20, 30, 10))
    found = shared(graph, Share(3))
    plain = unshare(found)
    assert print_graph(plain) == print_graph(graph)
    assert {name: plain.const[name].data.tolist() for name in weights(found)} == {
        name: values.tolist() for name, values in weights(found).items()
    }
    codes = run_passes(found, (Quantise(per_channel=False),), context(graph))
    assert print_graph(codes) == print_graph(run_passes(plain, (Quantise(per_channel=False),), context(graph)))
    assert len(codes.const["fc1.weight"].data.unique()) <= 8


def test_the_simulators_see_the_values_of_shared_weights() -> None:
    graph = pruned(mlp((20, 30, 10)), "fc1.weight", 0.15)
    plain, found = workload_of(graph).layers, workload_of(shared(graph, Share(3))).layers
    assert [layer.name for layer in found] == [layer.name for layer in plain]
    for one, other in zip(plain, found, strict=True):
        assert one.weights is not None
        assert other.weights is not None
        assert np.array_equal(one.weights == 0, other.weights == 0)


def test_plain_graphs_need_no_unsharing() -> None:
    graph = mlp()
    assert unshare(graph) is graph


def test_same_seed_same_result() -> None:
    graph = mlp((20, 30))
    texts = {
        shared(graph, Share(3, initialisation=Initialisation.RANDOM, seed=seed)).const["fc1.weight.table"].data
        .numpy().tobytes()
        for seed in (1, 1, 2)
    }  # fmt: skip
    assert len(texts) == 2


def error(graph: Graph, step: Share) -> str:
    with pytest.raises(ToolError) as caught:
        shared(graph, step)
    return str(caught.value)


def test_more_centroids_than_distinct_weights() -> None:
    assert error(mlp((4, 5, 3)), Share(4, (LayerShare("fc1", 5),))) == (
        "error[too-many-centroids]: fc1.weight has 20 distinct weights, fewer than the 32 centroids of 5 bits\n"
        "  help: set index_bits to 4 or less for it, or leave it unshared\n"
        "error[too-many-centroids]: fc2.weight has 15 distinct weights, fewer than the 16 centroids of 4 bits\n"
        "  help: set index_bits to 3 or less for it, or leave it unshared"
    )
    empty = pruned(mlp((4, 5)), "fc1.weight", np.inf)
    assert error(empty, Share(1)) == (
        "error[too-many-centroids]: fc1.weight has 1 distinct weights, fewer than the 2 centroids of 1 bits\n"
        "  help: leave it unshared"
    )
    for bits in (2, 3, 4):  # what the hint says works
        shared(mlp((4, 4)), Share(bits))


def test_unknown_layers() -> None:
    assert error(mlp(), Share(2, (LayerShare("fc", 3), LayerShare("conv*")))) == (
        "error[unknown-layer]: No layer of tiny with weights matches 'fc'\n"
        "  help: did you mean fc2 or fc1? Known: fc1, fc2, layers.fc1, layers.fc2\n"
        "error[unknown-layer]: No layer of tiny with weights matches 'conv*'\n"
        "  help: known: fc1, fc2, layers.fc1, layers.fc2"
    )


def test_weights_that_cannot_be_shared() -> None:
    graph, where = mlp(), "\n  --> model.py:7 (layers.fc1)\n  help: put share before quantise, and once"
    for before, why in ((Share(2), "shared"), (Quantise(), "fixed point")):
        unfit = run_passes(graph, (before,), context(graph))
        expected = f"error[pass-order]: share works on weights that are floats, but they are {why}"
        assert error(unfit, Share(2)) == f"{expected}\n  help: leave share out"
        with pytest.raises(ToolError) as caught:
            Share(2).run(unfit, context(graph))
        assert str(caught.value) == f"error[cannot-share]: the weights of %fc1 are {why} already{where}"
    nan = replace(graph, consts=tuple(replace(const, data=const.data * np.nan) for const in graph.consts))
    assert "error[not-finite]: fc1.weight has 48 NaN or infinite values of 48" in error(nan, Share(2))


def test_biases_share_one_table() -> None:
    graph = mlp((8, 6, 5, 20, 30))
    found = shared(graph, Share(3, bias_bits=4))
    biases = [f"fc{i}.bias" for i in range(1, 5)]
    assert [str(found.types[name]) for name in biases] == [f"codebook4(f32)[{size}]" for size in (6, 5, 20, 30)]
    assert [found.node[f"{name}.decoded"].args[1] for name in biases] == ["fc1.bias.table"] * 4
    assert len(found.const["fc1.bias.table"].data) == 16
    values = torch.cat([weights(found)[name] for name in biases])
    before = torch.cat([graph.const[name].data for name in biases])
    nearest = found.const["fc1.bias.table"].data[(before[:, None] - found.const["fc1.bias.table"].data).abs().argmin(1)]
    assert torch.equal(values, nearest)
    tuned = Tune(epochs=1, learning_rate=1e-2, keep_best=False).run(found, context(graph))
    assert not torch.equal(tuned.const["fc1.bias.table"].data, found.const["fc1.bias.table"].data)
    codes = run_passes(found, (Quantise(),), context(graph))
    assert "fc1.bias.decoded" not in codes.node
    with pytest.raises(ToolError, match=r"fc1\.bias, fc2\.bias has 9 distinct weights, fewer than the 16 centroids"):
        shared(mlp((8, 6, 3)), Share(3, bias_bits=4))
    with pytest.raises(ToolError, match="bias_bits must be between 1 and 8, not 9"):
        Share(bias_bits=9)


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ToolError, match=f"index_bits must be between 1 and 8, not {bits}"):
        Share(bits)
    with pytest.raises(ToolError, match=rf"index_bits of the layers 'a\*' must be between 1 and 8, not {bits}"):
        LayerShare("a*", bits)
    with pytest.raises(ToolError, match="joint_below must be at least 0, not -1"):
        Share(joint_below=-1)
