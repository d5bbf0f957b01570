from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bitkiln.ir import Graph, ToolError, evaluate, print_graph
from bitkiln.ir.ops import ActivationQuantiser, Add, LearnedStepActivation, LearnedStepWeight, Linear, WeightQuantiser
from bitkiln.passes import (
    ActivationMethod,
    FakeQuantise,
    LayerMethod,
    Quantise,
    Tune,
    WeightMethod,
    accuracy,
    canonicalise,
    harden,
)
from bitkiln.passes._methods import activation_quantiser, best_step

from .digits import digits_cnn, digits_context, later_samples, trained_mlp
from .networks import Network, context, mlp, samples

MLP = """\
graph tiny
%x = input : f32[1,4]
%x.quantised.log_step = const : f32[1]
%fc1.weight = const : f32[5,4]
%fc1.bias = const : f32[5]
%fc2.weight = const : f32[3,5]
%fc2.bias = const : f32[3]
%fc1.weight.quantised.log_step = const : f32[5]
%relu1.quantised.log_step = const : f32[1]
%x.quantised = learned_step_activation(%x, %x.quantised.log_step) {signed=true} : f32[1,4]
%fc1.weight.quantised = learned_step_weight(%fc1.weight, %fc1.weight.quantised.log_step) {bits=4} : f32[5,4] \
@ "model.py":7 "layers.fc1"
%fc1 = linear(%x.quantised, %fc1.weight.quantised, %fc1.bias) : f32[1,5] @ "model.py":7 "layers.fc1"
%relu1 = relu(%fc1) : f32[1,5] @ "model.py":7 "layers.relu1"
%relu1.quantised = learned_step_activation(%relu1, %relu1.quantised.log_step) {bits=3} : f32[1,5] \
@ "model.py":7 "layers.relu1"
%fc2.weight.quantised = ternary_weight(%fc2.weight) : f32[3,5] @ "model.py":7 "layers.fc2"
%fc2 = linear(%relu1.quantised, %fc2.weight.quantised, %fc2.bias) : f32[1,3] @ "model.py":7 "layers.fc2"
return %fc2
"""


def test_weights_and_the_inputs_of_layers_get_quantisers() -> None:
    graph = mlp((4, 5, 3))
    method = FakeQuantise(weight_bits=4, activation_bits=3, layers=(LayerMethod("*fc2", WeightMethod.TWN),))
    assert print_graph(method.run(graph, context(graph))) == MLP


def test_the_last_matching_entry_counts() -> None:
    entries = (
        LayerMethod("fc*", weight_bits=5),
        LayerMethod("fc2", weight_bits=6),
        LayerMethod("fc2", activation_bits=2),
    )
    graph = mlp((4, 5, 3))
    found = FakeQuantise(layers=entries).run(graph, context(graph))
    assert found.node["fc1.weight.quantised"].op == LearnedStepWeight(5)
    assert found.node["fc2.weight.quantised"].op == LearnedStepWeight(6)
    assert found.node["relu1.quantised"].op == LearnedStepActivation(2)


def test_canonicalise_leaves_quantisers_of_weights() -> None:
    graph = mlp((4, 5, 3))
    quantised = FakeQuantise().run(graph, context(graph))
    assert print_graph(canonicalise(quantised)) == print_graph(quantised)


def test_both_operands_of_an_addition_are_quantised_and_outputs_on_demand() -> None:
    network = Network((6,))
    x = network.linear(network.x, 6, "fc1")
    graph = network.graph(network.op(Add(), x, network.linear(x, 6, "fc2")))
    quantised = FakeQuantise(output_bits=6).run(graph, context(graph))
    names = [node.name for node in quantised.nodes if isinstance(node.op, ActivationQuantiser)]
    assert names == ["x.quantised", "fc1.quantised", "fc2.quantised", "add.quantised"]
    hardened = harden(quantised)
    assert not any(node.type.is_float for node in hardened.nodes)
    inputs = samples(graph, 300).double()
    trained, integers = evaluate(quantised, inputs)[0], evaluate(hardened, inputs)[0]
    assert torch.allclose(trained / trained.abs().max(), integers / integers.abs().max(), atol=1e-9)


def test_quantisers_stand_behind_pools_and_before_reshapes() -> None:
    graph = digits_cnn()
    quantised = FakeQuantise().run(graph, digits_context(graph))
    names = [node.name for node in quantised.nodes if isinstance(node.op, ActivationQuantiser)]
    assert names == ["x.quantised", "pool1.quantised", "relu2.quantised", "pool3.quantised"]


def test_weights_of_no_method_stay_floats() -> None:
    graph = mlp((4, 5, 3))
    quantised = FakeQuantise(WeightMethod.NONE, activations=ActivationMethod.NONE).run(graph, context(graph))
    assert print_graph(quantised) == print_graph(graph)


def test_a_second_run_changes_nothing() -> None:
    graph = mlp((4, 5, 3))
    once = FakeQuantise().run(graph, context(graph))
    assert print_graph(FakeQuantise(WeightMethod.TWN).run(once, context(once))) == print_graph(once)


@pytest.mark.parametrize("method", [method for method in ActivationMethod if method is not ActivationMethod.NONE])
@pytest.mark.parametrize("bits", [2, 4])
def test_parameters_start_near_the_values(method: ActivationMethod, bits: int) -> None:
    values = torch.relu(torch.randn(5000, generator=torch.Generator().manual_seed(0)))
    quantiser = activation_quantiser(method, bits, values)
    assert quantiser is not None
    found = quantiser.op.evaluate(values[None], *quantiser.parameters.values())[0]
    assert float((found - values).square().mean()) < 0.5 * float((values - values.mean()).square().mean())


def test_affine_codes_fit_values_of_uneven_signs() -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0)) + 2
    quantiser = activation_quantiser(ActivationMethod.AFFINE, 4, values)
    assert quantiser is not None
    assert isinstance(quantiser.op, LearnedStepActivation)
    low, high = quantiser.op.limits
    assert high - low == 15
    assert -6 < low < -1
    found = quantiser.op.evaluate(torch.cat([values, torch.zeros(1)])[None], quantiser.parameters["log_step"])[0]
    assert found[-1] == 0
    assert float((found[:-1] - values).abs().mean()) < 0.15


def test_the_best_step_has_the_least_error() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))

    def error(step: float) -> float:
        return float((torch.round(values / step).clamp(-8, 7) * step - values).square().sum())

    best = float(best_step(values, -8, 7))
    assert all(error(best) <= error(best * 2 ** (i / 4)) for i in range(-4, 5))


@pytest.mark.parametrize(
    ("method", "bits"),
    [
        *((WeightMethod.SYMMETRIC, 3), (WeightMethod.AFFINE, 3), (WeightMethod.FIXED_POINT, 4), (WeightMethod.LSQ, 2)),
        *((WeightMethod.DOREFA, 2), (WeightMethod.LQ, 2), (WeightMethod.LOG, 3), (WeightMethod.TWN, 0)),
        *((WeightMethod.TTQ, 0), (WeightMethod.BWN, 0), (WeightMethod.ABC, 3), (WeightMethod.HORQ, 2)),
    ],
)
def test_tuning_brings_back_what_few_bits_cost(method: WeightMethod, bits: int) -> None:
    graph = trained_mlp()
    quantised = FakeQuantise(method, bits, activation_bits=4).run(graph, digits_context(graph))
    tuned = Tune(epochs=6, learning_rate=3e-3, batch=50).run(quantised, digits_context(graph))
    x, y = later_samples()
    # By the integers themselves; the float network is right on 85 to 90 % of these later writers.
    assert accuracy(harden(tuned), x, y) > accuracy(graph, x, y) - 0.04


def test_training_chooses_exponents() -> None:
    """Learned points: steps that start four times too large come down to where they belong."""
    graph = trained_mlp()
    method = FakeQuantise(WeightMethod.LSQ_POWER_OF_TWO, 4, ActivationMethod.LSQ_POWER_OF_TWO, 4)
    start = method.run(graph, digits_context(graph))
    consts = tuple(
        replace(const, data=const.data + 2) if const.name.endswith(".log_step") else const for const in start.consts
    )
    spoilt = replace(start, consts=consts)
    tuned = Tune(epochs=4, learning_rate=2e-2, batch=50).run(spoilt, digits_context(graph))
    x, y = later_samples()
    assert points(harden(tuned)) != points(harden(spoilt))
    assert accuracy(harden(tuned), x, y) > accuracy(harden(spoilt), x, y) + 0.1


def points(graph: Graph) -> list[str]:
    return [str(graph.types[node.args[1]].number) for node in graph.nodes if isinstance(node.op, Linear)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FakeQuantise(weight_bits=17), "weight_bits must be between 2 and 16, not 17"),
        (lambda: FakeQuantise(WeightMethod.LQ, 5), "weight_bits must be between 1 and 4, not 5"),
        (lambda: FakeQuantise(WeightMethod.LOG, 6), "weight_bits must be between 2 and 5, not 6"),
        (lambda: FakeQuantise(activation_bits=13), "activation_bits must be between 2 and 12, not 13"),
        (lambda: FakeQuantise(input_bits=1), "input_bits must be between 2 and 12, not 1"),
        (lambda: FakeQuantise(output_bits=16), "output_bits must be between 2 and 12, not 16"),
        (
            lambda: FakeQuantise(layers=(LayerMethod("fc1", WeightMethod.ABC, 8),)),
            "weight_bits of the layers 'fc1' must be between 1 and 5, not 8",
        ),
    ],
)
def test_widths_out_of_range(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ToolError) as error:
        make()
    assert error.value.diagnostics[0].message == message


def test_unknown_layers_are_all_named() -> None:
    graph = mlp((4, 5, 3))
    method = FakeQuantise(layers=(LayerMethod("fc9"), LayerMethod("conv*")))
    with pytest.raises(ToolError) as error:
        method.run(graph, context(graph))
    assert [diagnostic.message for diagnostic in error.value.diagnostics] == [
        "No layer of tiny with weights matches 'fc9'",
        "No layer of tiny with weights matches 'conv*'",
    ]


def test_fixed_point_cannot_be_trained_with_quantisers() -> None:
    graph = mlp((4, 5, 3))
    with pytest.raises(ToolError) as error:
        FakeQuantise().run(Quantise().run(graph, context(graph)), context(graph))
    assert error.value.diagnostics[0].slug == "already-quantised"


def test_quantisers_say_what_is_trained() -> None:
    graph = mlp((4, 5, 3))
    quantised = FakeQuantise().run(graph, context(graph))
    trained = {
        node.args[place]
        for node in quantised.nodes
        if isinstance(node.op, WeightQuantiser | ActivationQuantiser)
        for place in node.op.trained
    }
    assert trained == {
        *("x.quantised.log_step", "relu1.quantised.log_step", "fc1.weight", "fc2.weight"),
        *("fc1.weight.quantised.log_step", "fc2.weight.quantised.log_step"),
    }
