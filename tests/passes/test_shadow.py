from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Bipolar, Const, Float, Graph, Int, Node, TensorType, ToolError
from bitkiln.ir.ops import Linear, Op
from bitkiln.passes import Quantise
from bitkiln.passes._shadow import Shadow, shadows

from .networks import Network, context, mlp


def weight(value: list[list[float]], number: Int) -> Shadow:
    shape = (len(value), len(value[0]))
    return Shadow(
        Const("w", TensorType(shape, number), torch.zeros(shape, dtype=torch.int8)), torch.tensor(value), False
    )


def test_shadows_start_at_the_reference_and_stand_for_exactly_this_graph() -> None:
    graph = mlp()
    codes = Quantise(weight_bits=4).run(graph, context(graph))
    found = shadows(codes, graph)
    assert [shadow.const.name for shadow in found] == ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]
    for shadow in found:
        constant = shadow.constant()
        assert constant.type == codes.types[shadow.const.name]
        assert torch.equal(constant.data, codes.const[shadow.const.name].data)
    same = [bool((shadow.value == graph.const[shadow.const.name].data).double().mean() > 0.8) for shadow in found]
    assert all(same)


def test_without_a_reference_shadows_start_at_the_values_of_the_codes() -> None:
    graph = mlp()
    codes = Quantise().run(graph, context(graph))
    empty = replace(graph, consts=())
    for shadow in shadows(codes, empty):
        assert torch.equal(shadow.constant().data, codes.const[shadow.const.name].data)


def test_codes_are_rounded_half_up_and_saturate() -> None:
    shadow = weight([[0.25, -0.25, 0.3], [9.0, -9.0, 0.1]], Int(4, True, (1, 0), 0))
    assert shadow.constant().data.tolist() == [[1, 0, 1], [7, -8, 0]]


def test_the_gradient_of_a_code_is_that_of_the_scaled_weight() -> None:
    shadow = weight([[0.5, 1.0], [0.5, 1.0]], Int(4, True, (1, 3), 0))
    leaf = shadow.leaf()
    (leaf * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    shadow.take_gradient(leaf)
    assert shadow.value.grad is not None
    assert shadow.value.grad.tolist() == [[2.0, 4.0], [24.0, 32.0]]


def test_weights_are_kept_where_rounding_answers() -> None:
    shadow = weight([[100.0, -100.0, 0.5]], Int(4, True, (1,), 0))
    shadow.keep_in_range()
    assert shadow.value.tolist() == [[3.5, -4.0, 0.5]]


def test_floats_are_clipped_to_their_limit_and_zeros_stay() -> None:
    const = Const("w", TensorType((1, 3), Float()), torch.zeros(1, 3))
    kept = torch.tensor([[1.0, 1.0, 0.0]])
    shadow = Shadow(const, torch.tensor([[2.0, -3.0, 0.5]]), False, limit=1.0, kept=kept)
    shadow.keep_in_range()
    assert shadow.constant().data.tolist() == [[1.0, -1.0, 0.0]]


@dataclass(frozen=True)
class Latent(Op):
    """Signs of latent weights."""

    name: ClassVar[str] = "latent"

    def infer(self, *args: TensorType) -> TensorType:
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].sign()

    @property
    def trained(self) -> tuple[int, ...]:
        return (0,)

    @property
    def latent_limit(self) -> float | None:
        return 0.5


def test_an_operation_says_what_is_trained_and_how_far() -> None:
    network = Network((6,))
    weight = network.op(Latent(), network.const("w", torch.ones(3, 6)), name="signs")
    graph = network.graph(network.op(Linear(), network.x, weight, network.const("b", torch.ones(3))))
    found = {shadow.const.name: shadow for shadow in shadows(graph, graph)}
    assert {name: shadow.limit for name, shadow in found.items()} == {"b": None, "w": 0.5}
    assert found["w"].value.max() == 0.5


def test_weights_of_another_kind_are_named() -> None:
    data = torch.ones(2, 3, dtype=torch.int8)
    const = Const("w", TensorType((2, 3), Bipolar()), data)
    node = Node("y", Linear(), ("x", "w"), TensorType((1, 2), Int(4)))
    with pytest.raises(ToolError) as caught:
        shadows(Graph("tiny", (), (const,), (node,), ("y",)), mlp())
    assert str(caught.value) == "error[cannot-tune]: %w is bipolar; tune trains fixed point and floats"
