from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import (
    Builder,
    Float,
    Graph,
    Int,
    TensorType,
    ToolError,
    decode_kiln,
    encode_kiln,
    evaluate,
    is_quantised,
    parse_graph,
    print_graph,
)
from bitkiln.ir.ops import (
    BatchNorm,
    BinaryScale,
    BinaryWeight,
    Dequantise,
    Linear,
    MultiThreshold,
    SignActivation,
    SignGradient,
    TernaryWeight,
)
from bitkiln.passes import (
    ActivationMethod,
    Binarise,
    BinaryActivations,
    BinaryWeights,
    FakeQuantise,
    FreezePowers,
    Harden,
    Pass,
    Scores,
    WeightMethod,
    harden,
)

from .digits import briefly_tuned, digits, digits_cnn, digits_context, digits_mlp
from .networks import mlp

BINARY = Binarise(input_threshold=0.5)
BASES = (WeightMethod.LQ, WeightMethod.ABC, WeightMethod.HORQ)
METHODS: dict[str, tuple[Pass, ...]] = {
    **{f"binarise {w.value}": (replace(BINARY, weights=w),) for w in BinaryWeights},
    **{f"activations {a.value}": (replace(BINARY, activations=a),) for a in BinaryActivations},
    "batch norm behind the scores": (replace(BINARY, scores=Scores.BATCH_NORM),),
    "bi-real": (replace(BINARY, shortcuts=True, gradient=SignGradient.POLYNOMIAL),),
    "first and last layer of 8 bits": (
        Binarise(BinaryWeights.XNOR, exclude=("conv1", "classify")),
        FakeQuantise(output_bits=8),
    ),
    **{
        f"weights {w.value}": (FakeQuantise(w, 2 if w in BASES else 4, activation_bits=4),)
        for w in WeightMethod
        if w is not WeightMethod.NONE
    },
    **{
        f"inputs {a.value}": (FakeQuantise(WeightMethod.TWN, activations=a, activation_bits=2),)
        for a in ActivationMethod
        if a is not ActivationMethod.NONE
    },
    "one scale for all": (FakeQuantise(weight_bits=3, activation_bits=3, per_channel=False, output_bits=8),),
    "inq": (FreezePowers(portion=0.5), FreezePowers(portion=1.0), FakeQuantise(activation_bits=4)),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_output_is_that_of_the_trained_graph(name: str) -> None:
    graph = digits_cnn()
    for step in METHODS[name]:
        graph = step.run(graph, digits_context(graph))
    graph = briefly_tuned(graph)
    hardened = harden(graph)
    x = digits()[0].double()
    trained, integers = evaluate(graph, x)[0], evaluate(hardened, x)[0]
    factor = trained.abs().max() / integers.abs().max()  # what the scores have in common is left out
    assert trained.abs().max() > 0
    assert float((trained - integers * factor).abs().max() / trained.abs().max()) < 1e-6
    if hardened.types[hardened.outputs[0]].is_float:
        # Only what follows the last sum is float: its scales, biases and batch norm.
        assert {node.op.name for node in hardened.nodes if node.type.is_float} <= {"dequantise", "scale_shift"}
    else:
        assert not any(node.type.is_float for node in hardened.nodes)
        assert torch.equal(integers, integers.round())


@pytest.mark.parametrize("name", ["bi-real", "weights ttq", "weights lq", "inputs abc", "inputs affine", "inq"])
def test_quantisers_survive_their_text(name: str) -> None:
    graph = digits_mlp(width=8)
    for step in METHODS[name]:
        graph = step.run(graph, digits_context(graph))
    read = parse_graph(print_graph(graph), {const.name: const.data for const in graph.consts})
    assert read.nodes == graph.nodes
    again = decode_kiln(encode_kiln(harden(graph)), "memory")
    assert torch.equal(evaluate(again, digits()[0])[0], evaluate(harden(read), digits()[0])[0])


def binary_neurons(weight: torch.Tensor, statistics: list[list[float]], ternary: bool = False) -> Graph:
    """x -> signs -> signs of weights -> batch norm -> signs."""
    build = Builder("neurons")
    channels, inputs = weight.shape
    x = build.add(SignActivation(), (build.input("x", TensorType((1, inputs), Float())),), "signs")
    latent = build.constant("weight", TensorType((channels, inputs), Float()), weight)
    op = TernaryWeight() if ternary else BinaryWeight(BinaryScale.CHANNEL)
    y = build.add(Linear(), (x, build.add(op, (latent,), "binary")), "sums")
    names = ("gamma", "beta", "mean", "variance")
    parts = [
        build.constant(name, TensorType((channels,), Float()), torch.tensor(values))
        for name, values in zip(names, statistics, strict=True)
    ]
    normed = build.add(BatchNorm(eps=0.0), (y, *parts), "norm")
    return build.graph([build.add(SignActivation(), (normed,), "neurons")])


@given(st.integers(0, 2**31), st.booleans())
def test_batch_norm_and_sign_are_one_threshold_on_every_sum(seed: int, ternary: bool) -> None:
    """Ceil for gamma > 0, floor for gamma < 0, constant for gamma = 0, by exact arithmetic on all 2**7 inputs."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 7, generator=generator)
    gamma = torch.randn(6, generator=generator)
    gamma[0] = 0.0
    beta, mean = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    variance = torch.rand(6, generator=generator) + 0.1
    graph = binary_neurons(weight, [t.tolist() for t in (gamma, beta, mean, variance)], ternary)
    hardened = harden(graph)
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=7)))
    found = evaluate(hardened, x)[0]
    op = graph.node["binary"].op
    assert isinstance(op, TernaryWeight | BinaryWeight)
    codes, scale = op.codes(weight)
    sums = x @ codes.t()
    for channel in range(6):
        slope, middle = float(gamma[channel]), Fraction(float(mean[channel]))
        if slope:
            deviation = Fraction(float(variance[channel].double().sqrt()))
            middle -= Fraction(float(beta[channel])) * deviation / Fraction(slope)
        threshold = middle / Fraction(float(scale[channel]))  # on the sums themselves
        for total, sign in zip(sums[:, channel].tolist(), found[:, channel].tolist(), strict=True):
            if slope > 0:
                expected = total >= threshold.__ceil__()
            elif slope < 0:
                expected = total <= threshold.__floor__()
            else:
                expected = float(beta[channel]) >= 0
            assert sign == (1 if expected else -1)


def test_what_is_left_are_codes_and_thresholds() -> None:
    graph = Binarise(input_threshold=0.5).run(digits_mlp(), digits_context(digits_mlp()))
    hardened = harden(graph)
    assert [node.op.name for node in hardened.nodes] == [
        *("multi_threshold", "reshape", "linear", "multi_threshold", "linear", "multi_threshold", "linear"),
    ]
    weights = [const for const in hardened.consts if const.name.endswith("weight")]
    # The last layer's learned factor, 64**-0.5 here, is a power of two and so a point.
    assert [const.type.number for const in weights] == [Int(2), Int(2), Int(2, frac=3)]
    assert all(const.data.unique().tolist() == [-1, 1] for const in weights)
    assert all(node.op.step == (2,) for node in hardened.nodes if isinstance(node.op, MultiThreshold))


def test_a_binary_weight_takes_one_bit_in_the_container() -> None:
    graph = digits_mlp(width=256)
    hardened = harden(Binarise(input_threshold=0.5).run(graph, digits_context(graph)))
    weights = sum(const.type.elements for const in hardened.consts if const.name.endswith("weight"))
    assert weights == 64 * 256 + 256 * 256 + 256 * 10
    assert weights / 8 < len(encode_kiln(hardened)) < weights / 8 + 1900  # text, 513 thresholds of 10 bits and more


@pytest.mark.parametrize("method", [WeightMethod.TWN, WeightMethod.TTQ])
def test_ternary_weights_take_less_than_two_bits_in_the_container(method: WeightMethod) -> None:
    graph = digits_mlp(width=256)
    quantised = FakeQuantise(method, activation_bits=2).run(graph, digits_context(graph))
    hardened = harden(quantised)
    others = sum(const.data.nbytes for const in hardened.consts if not const.name.endswith("weight"))
    weights = sum(const.type.elements for const in hardened.consts if const.name.endswith("weight"))
    assert len(encode_kiln(hardened)) - others < weights * 1.7 / 8


def test_powers_of_two_become_points() -> None:
    method = FakeQuantise(
        WeightMethod.FIXED_POINT, 4, ActivationMethod.LSQ_POWER_OF_TWO, activation_bits=4, output_bits=8
    )
    hardened = harden(method.run(digits_mlp(), digits_context(digits_mlp())))
    assert {type(node.op).__name__ for node in hardened.nodes} == {"MultiThreshold", "Reshape", "Linear"}
    number = hardened.types["classify.quantised"].number
    assert isinstance(number, Int)
    assert number.frac != 0


def test_scores_keep_their_factor_behind_a_batch_norm() -> None:
    graph = Binarise(input_threshold=0.5, scores=Scores.BATCH_NORM).run(digits_mlp(), digits_context(digits_mlp()))
    x = digits()[0][:50]
    assert torch.allclose(evaluate(harden(graph), x)[0], evaluate(graph, x)[0], atol=1e-4)


def test_k_stays_in_floats() -> None:
    graph = digits_cnn()
    binary = Binarise(BinaryWeights.XNOR, input_scale=True, input_threshold=0.5).run(graph, digits_context(graph))
    hardened = harden(binary)
    x = digits()[0][:50].double()
    assert any(isinstance(node.op, Dequantise) for node in hardened.nodes)
    assert torch.equal(evaluate(binary, x)[0].argmax(1), evaluate(hardened, x)[0].argmax(1))


def test_a_plain_graph_has_nothing_to_harden() -> None:
    graph = mlp()
    with pytest.raises(ToolError) as error:
        Harden().run(graph, digits_context(graph))
    assert not is_quantised(graph)
    diagnostic = error.value.diagnostics[0]
    assert diagnostic.slug == "nothing-to-harden"
    assert diagnostic.message == "tiny has no quantisers that were trained"
    assert diagnostic.hint == "put binarise, fake_quantise or freeze_powers and tune before harden"


def test_weights_that_are_not_all_frozen() -> None:
    graph = digits_mlp()
    frozen = FreezePowers(portion=0.5).run(graph, digits_context(graph))
    with pytest.raises(ToolError) as error:
        harden(frozen)
    assert [diagnostic.slug for diagnostic in error.value.diagnostics] == ["cannot-harden"] * 3
    assert error.value.diagnostics[0].message == "%fc1.weight.powers: 2048 of 4096 weights are not frozen yet"
