from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bitkiln.ir import Graph, ToolError, evaluate, print_graph
from bitkiln.ir.ops import Add, BatchNorm, BinaryScale, BinaryWeight, InputScale, Relu, SignActivation, SignGradient
from bitkiln.passes import (
    Binarise,
    BinaryActivations,
    BinaryWeights,
    FakeQuantise,
    Loss,
    Quantise,
    Scores,
    Tune,
    accuracy,
    harden,
    read_passes,
    run_passes,
)

from .digits import digits, digits_cnn, digits_context, digits_mlp, later_samples, trained_mlp
from .networks import context, mlp, samples

PLAIN = Binarise(input_threshold=0.5)
MLP = """\
graph tiny
%x = input : f32[1,4]
%fc1.weight = const : f32[5,4]
%fc2.weight = const : f32[3,5]
%fc1.norm.gamma = const : f32[5]
%fc1.norm.beta = const : f32[5]
%fc1.norm.mean = const : f32[5]
%fc1.norm.variance = const : f32[5]
%fc2.weight.quantised.scale = const : f32[1]
%x.sign = sign_activation(%x) {threshold=0.5} : f32[1,4]
%fc1.weight.quantised = binary_weight(%fc1.weight) {scale="none"} : f32[5,4] @ "model.py":7 "layers.fc1"
%fc1 = linear(%x.sign, %fc1.weight.quantised) : f32[1,5] @ "model.py":7 "layers.fc1"
%fc1.norm = batch_norm(%fc1, %fc1.norm.gamma, %fc1.norm.beta, %fc1.norm.mean, %fc1.norm.variance) : f32[1,5] \
@ "model.py":7 "layers.fc1"
%fc1.sign = sign_activation(%fc1.norm) : f32[1,5] @ "model.py":7 "layers.fc1"
%fc2.weight.quantised = binary_weight(%fc2.weight, %fc2.weight.quantised.scale) {scale="learned"} : f32[3,5] \
@ "model.py":7 "layers.fc2"
%fc2 = linear(%fc1.sign, %fc2.weight.quantised) : f32[1,3] @ "model.py":7 "layers.fc2"
return %fc2
"""


def binarised(graph: Graph, options: Binarise = PLAIN) -> Graph:
    return options.run(graph, digits_context(graph))


def test_activations_and_biases_give_way_to_batch_norm_and_signs() -> None:
    graph = mlp((4, 5, 3))
    assert print_graph(PLAIN.run(graph, context(graph))) == MLP


def test_batch_norms_begin_with_the_statistics_of_the_calibration_samples() -> None:
    graph = mlp((4, 32, 16, 3))
    x = samples(graph, 200)
    binary = PLAIN.run(graph, context(graph, x))
    for name in ("fc1.norm", "fc2.norm"):
        normed = evaluate(replace(binary, outputs=(name,)), x)[0]
        assert torch.allclose(normed.mean(0), torch.zeros(()), atol=1e-4)
        is_alive = binary.const[f"{name}.variance"].data > 0
        assert torch.allclose(normed.var(0, correction=0)[is_alive], torch.ones(()), atol=1e-3)


def test_signs_stand_behind_pools() -> None:
    graph = binarised(digits_cnn())
    assert [node.op.name for node in graph.nodes if node.op.name != "binary_weight"] == [
        *("sign_activation", "conv2d", "max_pool2d", "batch_norm", "sign_activation"),
        *("conv2d", "batch_norm", "sign_activation"),
        *("conv2d", "max_pool2d", "batch_norm", "sign_activation", "reshape", "linear"),
    ]


def test_excluded_layers_and_what_they_read_stay() -> None:
    graph = binarised(digits_cnn(), Binarise(exclude=("conv1", "layers.classify")))
    binary = [node.args[0] for node in graph.nodes if isinstance(node.op, BinaryWeight)]
    assert binary == ["conv2.weight", "conv3.weight"]
    assert [node.args for node in graph.nodes if node.op.name == "linear"] == [
        ("flat", "classify.weight", "classify.bias")
    ]
    assert [node.name for node in graph.nodes if isinstance(node.op, Relu)] == ["relu3"]
    assert sum(isinstance(node.op, SignActivation) for node in graph.nodes) == 2
    # What no sign follows is normalised all the same: sums of signs are no activations, and its bias is gone.
    assert graph.node["relu3"].args == ("conv3.norm",)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (BinaryWeights.BNN, 'binary_weight(%fc1.weight) {scale="none"}'),
        (BinaryWeights.XNOR, "binary_weight(%fc1.weight) : "),
        (BinaryWeights.ABC, "shifted_bases_weight(%fc1.weight) {bases=2}"),
        (BinaryWeights.HORQ, "residual_weight(%fc1.weight) : "),
    ],
)
def test_each_method_has_its_operation(weights: BinaryWeights, text: str) -> None:
    graph = mlp((4, 5, 3))
    assert text in print_graph(Binarise(weights).run(graph, context(graph)))


def test_scores_behind_a_batch_norm() -> None:
    graph = binarised(digits_mlp(), replace(PLAIN, scores=Scores.BATCH_NORM))
    last = graph.node[graph.outputs[0]]
    assert isinstance(last.op, BatchNorm)
    assert graph.node["classify.weight.quantised"].op == BinaryWeight(BinaryScale.NONE)


def test_shortcuts_join_layers_of_one_shape() -> None:
    graph = binarised(digits_cnn(), replace(PLAIN, shortcuts=True))
    sums = [node for node in graph.nodes if isinstance(node.op, Add)]
    assert [(node.name, node.args) for node in sums] == [("conv2.shortcut", ("conv2.stream", "pool1.stream"))]
    signs = [node.args[0] for node in graph.nodes if isinstance(node.op, SignActivation)]
    assert signs == ["x", "pool1.stream", "conv2.shortcut", "pool3.stream"]
    deep = binarised(digits_mlp(hidden=3), replace(PLAIN, shortcuts=True))
    assert [node.args[1] for node in deep.nodes if isinstance(node.op, Add)] == ["fc1.stream", "fc2.shortcut"]


def test_k_multiplies_convolutions() -> None:
    graph = binarised(digits_cnn(), replace(PLAIN, input_scale=True))
    scales = [node for node in graph.nodes if isinstance(node.op, InputScale)]
    assert [node.args for node in scales] == [("x",), ("pool1.norm",), ("conv2.norm",)]
    assert graph.node["conv1.scaled"].args == ("conv1", "conv1.input_scale")


@pytest.mark.parametrize(
    ("options", "least"),
    [
        (PLAIN, 0.75),
        (replace(PLAIN, weights=BinaryWeights.XNOR, gradient=SignGradient.POLYNOMIAL), 0.7),
        (replace(PLAIN, weights=BinaryWeights.HORQ, activations=BinaryActivations.HORQ), 0.75),
        (replace(PLAIN, weights=BinaryWeights.ABC, activations=BinaryActivations.ABC), 0.75),
        (replace(PLAIN, shortcuts=True), 0.7),
    ],
)
def test_training_teaches_digits(options: Binarise, least: float) -> None:
    graph = trained_mlp()
    binary = binarised(graph, options)
    training = Tune(epochs=8, learning_rate=5e-3, batch=50, loss=Loss.SQUARED_HINGE)
    hardened = harden(training.run(binary, digits_context(binary)))
    x, y = later_samples()
    assert accuracy(hardened, x, y) > max(least, accuracy(binary, x, y) + 0.05)
    assert not any(node.type.is_float for node in hardened.nodes)


def test_a_recipe_in_a_project_file() -> None:
    tables = [
        {"name": "binarise", "weights": "xnor", "gradient": "polynomial", "exclude": ["conv1"]},
        {"name": "fake_quantise", "weights": "lsq", "layers": [{"layer": "conv1", "weight_bits": 6}]},
        {"name": "tune", "epochs": 1, "loss": "squared_hinge", "batch": 100},
        {"name": "harden"},
    ]
    graph = digits_cnn()
    hardened = run_passes(graph, read_passes(tables, "project.toml [[passes]]"), digits_context(graph, 200))
    x = digits()[0][:20]
    assert evaluate(hardened, x)[0].shape == (20, 10)
    assert str(hardened.const["conv1.weight"].type.number).startswith("i6")


def test_wrong_options() -> None:
    with pytest.raises(ToolError) as error:
        Binarise(weight_bases=5)
    assert error.value.diagnostics[0].message == "weight_bases must be between 1 and 4, not 5"


def test_a_layer_that_is_not_there_is_found_before_anything_runs() -> None:
    graph = digits_mlp()
    tables = [{"name": "tune", "epochs": 1000}, {"name": "binarise", "exclude": ["fc7"]}]
    with pytest.raises(ToolError) as error:
        run_passes(graph, read_passes(tables, "[[passes]]"), digits_context(graph))
    diagnostic = error.value.diagnostics[0]
    assert diagnostic.slug == "unknown-layer"
    assert diagnostic.message == "No layer of tiny with weights matches 'fc7'"


def test_nothing_left_to_make_binary() -> None:
    with pytest.raises(ToolError) as error:
        binarised(digits_mlp(), Binarise(exclude=("*",)))
    assert error.value.diagnostics[0].message == "tiny has no layer left to make binary"


def test_quantised_weights_cannot_become_binary() -> None:
    graph = digits_mlp()
    with pytest.raises(ToolError) as error:
        binarised(FakeQuantise().run(graph, digits_context(graph)))
    assert [diagnostic.slug for diagnostic in error.value.diagnostics] == ["already-quantised"] * 3
    with pytest.raises(ToolError) as error:
        binarised(Quantise().run(graph, digits_context(graph)))
    assert error.value.diagnostics[0].hint == "put binarise before quantise, share and harden"


def test_orders_that_make_no_sense() -> None:
    for names in (
        ("quantise", "binarise"),
        ("fake_quantise", "binarise"),
        ("quantise", "harden"),
        ("share", "binarise"),
    ):
        with pytest.raises(ToolError) as error:
            read_passes([{"name": name} for name in names], "[[passes]]")
        assert error.value.diagnostics[0].slug == "pass-order"
