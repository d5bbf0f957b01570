from __future__ import annotations

import math

import pytest
import torch

from bitkiln.ir import Graph, Int, ToolError
from bitkiln.ir.ops import IncrementalWeight
from bitkiln.passes import ActivationMethod, FakeQuantise, FreezePowers, Tune, WeightMethod, accuracy, harden

from .digits import digits_context, later_samples, trained_mlp
from .networks import context, mlp

PORTIONS = (0.5, 0.75, 0.875, 1.0)


def frozen(graph: Graph) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {
        node.args[0]: (graph.const[node.args[1]].data, graph.const[node.args[2]].data != 0)
        for node in graph.nodes
        if isinstance(node.op, IncrementalWeight)
    }


def test_the_greatest_weights_freeze_as_powers_of_two() -> None:
    graph = mlp((6, 8, 3))
    for name, (values, is_frozen) in frozen(FreezePowers(portion=0.25).run(graph, context(graph))).items():
        weight = graph.const[name].data
        assert int(is_frozen.sum()) == round(0.25 * weight.numel())
        assert float(weight[is_frozen].abs().min()) >= float(weight[~is_frozen].abs().max())
        exponents = torch.log2(values[is_frozen].abs())
        assert torch.equal(exponents, exponents.round())
        assert bool((values[~is_frozen] == 0).all())


def test_frozen_weights_never_move() -> None:
    """Partition, quantise, retrain: with momentum, decay and L2, whatever trains afterwards."""
    graph, x_y = trained_mlp(), later_samples()
    network = FakeQuantise(WeightMethod.NONE, 8, ActivationMethod.LSQ).run(graph, digits_context(graph))
    before: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for portion in PORTIONS:
        network = FreezePowers(portion=portion, bits=4).run(network, digits_context(graph))
        training = Tune(epochs=2, learning_rate=3e-3, weight_decay=0.1, l2=1e-3, keep_best=False)
        trained = training.run(network, digits_context(graph))
        after = frozen(trained)
        for name, (values, is_frozen) in before.items():
            assert bool(after[name][1][is_frozen].all())
            assert torch.equal(after[name][0][is_frozen], values[is_frozen])
        if portion < 1:
            for name, (_, is_frozen) in after.items():
                free = ~is_frozen
                assert not torch.equal(trained.const[name].data[free], network.const[name].data[free])
        network, before = trained, after
    hardened = harden(network)
    for name in before:
        number, data = hardened.const[name].type.number, hardened.const[name].data
        assert isinstance(number, Int)
        magnitudes = data.abs().double()
        assert bool((torch.log2(magnitudes[magnitudes > 0]) % 1 == 0).all())
        assert len(magnitudes.unique()) <= 5  # 0 and 2**2 powers
    assert accuracy(hardened, *x_y) > accuracy(graph, *x_y) - 0.04


def test_excluded_layers_stay_as_they_are() -> None:
    graph = mlp((6, 8, 3))
    assert set(frozen(FreezePowers(exclude=("fc1",)).run(graph, context(graph)))) == {"fc2.weight"}


@pytest.mark.parametrize("portion", [0.0, 1.1, math.nan])
def test_portions_out_of_range(portion: float) -> None:
    with pytest.raises(ToolError) as error:
        FreezePowers(portion=portion)
    assert error.value.diagnostics[0].message == f"portion must be above 0 and at most 1, not {portion:g}"


def test_portions_must_rise_and_bits_stay() -> None:
    graph = mlp((6, 8, 3))
    half = FreezePowers(portion=0.5).run(graph, context(graph))
    with pytest.raises(ToolError) as error:
        FreezePowers(portion=0.25).run(half, context(graph))
    assert [diagnostic.message for diagnostic in error.value.diagnostics] == [
        "%fc1.weight: 50% of the weights are frozen already, more than 25%",
        "%fc2.weight: 50% of the weights are frozen already, more than 25%",
    ]
    with pytest.raises(ToolError) as error:
        FreezePowers(portion=1.0, bits=4).run(half, context(graph))
    assert error.value.diagnostics[0].message == "%fc1.weight was frozen with other bits than 4"
    assert error.value.diagnostics[0].hint == "let portion rise from pass to pass, with the same bits"


def test_no_weights_left_to_freeze() -> None:
    graph = mlp((6, 8, 3))
    with pytest.raises(ToolError) as error:
        FreezePowers().run(FakeQuantise().run(graph, context(graph)), context(graph))
    assert error.value.diagnostics[0].slug == "no-weights"
