from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from bitkiln.ir import (
    Bipolar,
    Builder,
    Codebook,
    Const,
    Float,
    Graph,
    Input,
    Int,
    Location,
    Node,
    Number,
    TensorType,
    Ternary,
    ToolError,
    check_finite,
    prune_dead,
    single_input,
    storage_dtype,
    verify,
)
from bitkiln.ir.ops import Add, Concat, Linear, Op, Quantise, Relu, Reshape
from tests.ir.random_graphs import graphs

X = TensorType((1, 4), Float())
LOC = Location("model.py", 7, "fc")


def linear() -> Graph:
    """x [1, 4] -> fc [1, 2] -> relu."""
    build = Builder("g")
    x = build.input("x", X)
    w = build.constant("w", TensorType((2, 4), Float()), torch.ones(2, 4))
    y = build.add(Linear(), (x, w), "fc", LOC)
    return build.graph((build.add(Relu(), (y,), "relu"),))


def errors(graph: Graph) -> str:
    with pytest.raises(ToolError) as caught:
        verify(graph)
    return str(caught.value)


def test_views() -> None:
    graph = linear()
    assert graph.types == {"x": X, "w": TensorType((2, 4), Float()), "fc": TensorType((1, 2), Float()),
                           "relu": TensorType((1, 2), Float())}  # fmt: skip
    assert [node.name for node in graph.users["x"]] == ["fc"]
    assert [node.name for node in graph.users["fc"]] == ["relu"]
    assert graph.users["relu"] == ()
    assert graph.node["fc"].loc == LOC
    assert graph.const["w"].data.sum() == 8
    assert (graph.params, graph.total_macs, graph.macs(graph.nodes[0]), graph.macs(graph.nodes[1])) == (8, 8, 8, 0)
    assert graph.arg_types(graph.nodes[0]) == (X, TensorType((2, 4), Float()))


def test_a_value_used_twice_by_a_node_has_it_as_user_twice() -> None:
    build = Builder("g")
    x = build.input("x", X)
    graph = build.graph((build.add(Add(), (x, x), "y"),))
    assert [node.name for node in graph.users["x"]] == ["y", "y"]


def test_builder_makes_names_unique_and_printable() -> None:
    build = Builder("my net/é")
    names = [build.input(name, X) for name in ("x", "x", "a b%", "", "x")]
    assert names == ["x", "x_2", "a_b_", "value", "x_3"]
    assert build.graph(("x",)).name == "my_net__"


def test_builder_drops_what_no_output_needs() -> None:
    build = Builder("g")
    x, unused = build.input("x", X), build.input("unused", X)
    w = build.constant("w", X, torch.zeros(1, 4))
    y = build.add(Relu(), (x,), "y")
    build.add(Add(), (y, w), "dead")
    graph = build.graph((y,))
    assert [value.name for value in graph.inputs] == [x, unused]
    assert (graph.consts, [node.name for node in graph.nodes]) == ((), ["y"])


def test_builder_says_where_the_model_is_wrong() -> None:
    build = Builder("g")
    x = build.input("x", X)
    message = "error[type-mismatch]: add takes 2 arguments, not 1\n  --> model.py:7 (fc)"
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        build.add(Add(), (x,), "y", LOC)


@settings(max_examples=40)
@given(graphs())
def test_pruning_keeps_what_is_needed(graph: Graph) -> None:
    assert prune_dead(graph).nodes == graph.nodes
    first = replace(graph, outputs=(graph.inputs[0].name,))
    assert (prune_dead(first).nodes, prune_dead(first).consts) == ((), ())


def test_undefined_and_doubly_defined_names() -> None:
    graph = linear()
    assert errors(replace(graph, nodes=graph.nodes[::-1])) == (
        "error[invalid-graph]: %relu uses %fc, which is not defined before it"
    )
    assert errors(replace(graph, nodes=(*graph.nodes, graph.nodes[0]))) == (
        "error[invalid-graph]: %fc is defined twice\n  --> model.py:7 (fc)"
    )
    assert errors(replace(graph, inputs=(*graph.inputs, Input("x", X)))) == "error[invalid-graph]: %x is defined twice"
    assert errors(replace(graph, outputs=("relu", "a"))) == "error[invalid-graph]: output %a is not defined"
    assert errors(replace(graph, outputs=())) == "error[invalid-graph]: the graph has no output"


def test_every_finding_is_reported() -> None:
    graph = replace(linear(), outputs=("a", "b"))
    assert (
        errors(graph)
        == "error[invalid-graph]: output %a is not defined\nerror[invalid-graph]: output %b is not defined"
    )


def test_names_that_could_not_be_read_back() -> None:
    graph = linear()
    assert errors(replace(graph, name="my net")) == (
        "error[invalid-graph]: the graph's name has letters, digits, '_', '.' and '-', not 'my net'"
    )
    assert errors(replace(graph, inputs=(*graph.inputs, Input("a b", X)))) == (
        "error[invalid-graph]: a name has letters, digits, '_', '.' and '-', not 'a b'"
    )


def test_types_must_be_what_the_operation_gives() -> None:
    graph = linear()
    nodes = (replace(graph.nodes[0], type=X), graph.nodes[1])
    assert errors(replace(graph, nodes=nodes)) == (
        "error[type-mismatch]: %fc has type f32[1,4], but linear gives f32[1,2]\n  --> model.py:7 (fc)\n"
        "error[type-mismatch]: %relu has type f32[1,2], but relu gives f32[1,4]"
    )


@pytest.mark.parametrize(
    ("number", "data", "message"),
    [
        (Float(), torch.zeros(1, 2), "%w is f32[1,4] but its data has shape [1, 2]"),
        (Float(), torch.zeros(1, 4).double(), "%w of f32[1,4] must be stored as torch.float32, not torch.float64"),
        (Int(4), torch.zeros(1, 4), "%w of i4.f0[1,4] must be stored as torch.int8, not torch.float32"),
    ],
)
def test_data_of_constants(number: Number, data: torch.Tensor, message: str) -> None:
    const = Const("w", TensorType((1, 4), number), data)
    assert errors(Graph("g", (), (const,), (), ("w",))) == f"error[invalid-graph]: {message}"


@pytest.mark.parametrize(
    ("number", "codes", "message"),
    [
        (Int(4), [7, -9], "%w of i4.f0[2] must have codes from -8 to 7, not -9 to 7"),
        (Int(4, False), [16, 0], "%w of u4.f0[2] must have codes from 0 to 15, not 0 to 16"),
        (Bipolar(), [-1, 1], "%w of bipolar[2] must have codes from 0 to 1, not -1 to 1"),
        (Ternary(), [-1, 2], "%w of ternary[2] must have codes from -1 to 1, not -1 to 2"),
        (Codebook(2, Float()), [0, 4], "%w of codebook2(f32)[2] must have codes from 0 to 3, not 0 to 4"),
    ],
)
def test_codes_of_constants(number: Number, codes: list[int], message: str) -> None:
    const = Const("w", TensorType((2,), number), torch.tensor(codes).to(storage_dtype(number)))
    assert errors(Graph("g", (), (const,), (), ("w",))) == f"error[invalid-graph]: {message}"


def test_inputs_have_a_batch_axis() -> None:
    for shape in ((), (2, 3)):
        graph = Graph("g", (Input("x", TensorType(shape, Float())),), (), (), ("x",))
        type_ = graph.types["x"]
        assert errors(graph) == f"error[invalid-graph]: the input %x needs a batch axis of 1 first, but is {type_}"


def graph_of(op: Op, *args: str) -> Graph:
    """A graph of one operation on an input x [1, 2, 2, 2] and constants of several shapes; not verified."""
    x = Input("x", TensorType((1, 2, 2, 2), Float()))
    shapes = {"batch": (3, 2, 2, 2), "long": (1, 1, 2, 2, 2)}
    consts = tuple(Const(name, TensorType(shape, Float()), torch.zeros(shape)) for name, shape in shapes.items())
    graph = Graph("g", (x,), consts, (), ("y",))
    type_ = op.infer(*(graph.types[arg] for arg in args))
    return replace(graph, nodes=(Node("y", op, args, type_, LOC),))


@pytest.mark.parametrize(
    ("op", "args", "message"),
    [
        (Add(), ("x", "batch"), "%y depends on an input and needs a batch axis of 1 first, but is f32[3,2,2,2]"),
        (Add(), ("long", "x"), "%y: argument %x of add depends on an input, but must be constant here"),
    ],
)
def test_the_batch_stays_in_axis_0(op: Op, args: tuple[str, ...], message: str) -> None:
    assert errors(graph_of(op, *args)) == f"error[type-mismatch]: {message}\n  --> model.py:7 (fc)"


def test_weights_may_not_depend_on_an_input() -> None:
    build = Builder("g")
    x = build.input("x", X)
    c = build.constant("c", X, torch.zeros(1, 4))
    y = build.add(Linear(), (c, x), "y", LOC)
    with pytest.raises(ToolError) as caught:
        build.graph((y,))
    assert str(caught.value) == (
        "error[type-mismatch]: %y: argument %x of linear depends on an input, but must be constant here\n"
        "  --> model.py:7 (fc)"
    )


def test_constants_may_meet_activations_in_any_operation_that_keeps_the_batch() -> None:
    build = Builder("g")
    x = build.input("x", X)
    c = build.constant("c", X, torch.ones(1, 4))
    y = build.add(Concat(), (c, x), "y")
    v = build.constant("v", TensorType((8,), Float()), torch.ones(8))
    graph = build.graph((build.add(Add(), (y, v), "z"),))
    assert graph.types["z"] == TensorType((1, 8), Float())


def test_check_finite() -> None:
    graph = linear()
    check_finite(graph)
    data = graph.consts[0].data.clone()
    data[0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    message = (
        "error[not-finite]: w has 3 NaN or infinite values of 8\n"
        "  help: train again with a lower learning rate, or load another checkpoint"
    )
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        check_finite(replace(graph, consts=(replace(graph.consts[0], data=data),)))


def test_check_finite_leaves_codes_alone() -> None:
    number = Int(40)
    const = Const("w", TensorType((1,), number), torch.tensor([2**39 - 1], dtype=storage_dtype(number)))
    check_finite(Graph("g", (), (const,), (), ("w",)))


def test_single_input() -> None:
    graph = linear()
    assert single_input(graph) == Input("x", X)
    with pytest.raises(ToolError, match=r"^error\[many-inputs\]: g has 2 inputs; exactly one is supported here$"):
        single_input(replace(graph, inputs=(*graph.inputs, Input("b", X))))


def test_quantised_weights_computed_from_constants() -> None:
    build = Builder("g")
    x = build.add(Quantise(Int(4, False)), (build.input("x", X),), "codes")
    w = build.constant("w", TensorType((2, 4), Float()), torch.ones(2, 4))
    graph = build.graph((build.add(Linear(), (x, build.add(Quantise(Int(3)), (w,), "wq")), "y"),))
    assert str(graph.types["y"]) == "i9.f0[1,2]"


def test_reshape_keeps_the_batch() -> None:
    with pytest.raises(ToolError, match=r"reshape \[1, 4\] to \[2, 2\] touches the batch axis"):
        Reshape((2, 2)).infer(X)
