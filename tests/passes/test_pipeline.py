from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from bitkiln.ir import Graph, ToolError, known_names, print_graph
from bitkiln.ir.ops import BatchNorm, Relu
from bitkiln.passes import (
    PASSES,
    Calibration,
    Canonicalise,
    Context,
    Keeps,
    LayerBits,
    Optimizer,
    Pass,
    Quantise,
    Schedule,
    Share,
    ShareVectors,
    Tune,
    Weights,
    canonicalise,
    read_passes,
    run_passes,
)

from .networks import Network, context, mlp

WHERE = "project.toml [[passes]]"
KNOWN = ", ".join(sorted(kind.name for kind in PASSES))


def test_passes_are_read_with_their_options() -> None:
    tables = [
        {"name": "canonicalise"},
        {
            "name": "quantise",
            "weight_bits": 4,
            "calibration": "percentile",
            "percentile": 99,
            "layers": [{"layer": "conv*", "weight_bits": 8}],
        },
        {"name": "tune", "epochs": 2, "optimizer": "sgd", "schedule": "constant", "seed": 7},
    ]
    assert read_passes(tables, WHERE) == (
        Canonicalise(),
        Quantise(
            weight_bits=4,
            calibration=Calibration.PERCENTILE,
            percentile=99.0,
            layers=(LayerBits("conv*", weight_bits=8),),
        ),
        Tune(epochs=2, optimizer=Optimizer.SGD, schedule=Schedule.CONSTANT, seed=7),
    )


def test_no_passes() -> None:
    assert read_passes([], WHERE) == ()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            [{"name": "canonicalise"}, {"name": "quantize"}],
            "error[unknown-pass]: project.toml [[passes]][1]: unknown pass 'quantize'\n"
            f"  help: {known_names('quantize', KNOWN.split(', '))}",
        ),
        (
            [{"name": "quantise", "weight_bit": 4}],
            "error[unknown-key]: project.toml [[passes]][0] quantise: unknown key 'weight_bit'\n"
            "  help: did you mean weight_bits or weight_calibration or input_bits? Known: activation_bits, "
            "calibration, input_bits, layers, output_bits, per_channel, percentile, weight_bits, weight_calibration",
        ),
        (
            [{"name": "quantise", "weight_bits": "4"}],
            "error[bad-value]: project.toml [[passes]][0] quantise.weight_bits: expected whole number, not '4'",
        ),
        (
            [{"name": "quantise", "weight_bits": 40}],
            "error[number-range]: project.toml [[passes]][0] quantise: weight_bits must be between 2 and 16, not 40",
        ),
        (
            [{"weight_bits": 4}],
            "error[missing-key]: project.toml [[passes]][0]: expected a table with the key 'name', the name of a pass, "
            "not \"{'weight_bits': 4}\"\n"
            f"  help: known: {KNOWN}",
        ),
        (
            ["quantise"],
            "error[missing-key]: project.toml [[passes]][0]: expected a table with the key 'name', the name of a pass, "
            "not 'quantise'\n"
            f"  help: known: {KNOWN}",
        ),
        (
            {"name": "quantise"},
            "error[bad-value]: project.toml [[passes]]: expected a list of tables, not one table\n"
            '  help: begin each pass with [[passes]] and its name = "..."',
        ),
    ],
)
def test_wrong_tables_are_named(tables: object, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        read_passes(tables, WHERE)
    assert str(caught.value) == message


def batch_normed() -> Graph:
    network = Network((6,))
    statistics = [network.const(name, torch.rand(8) + 0.5) for name in ("gamma", "beta", "mean", "variance")]
    y = network.op(BatchNorm(), network.linear(network.x, 8, "fc1"), *statistics)
    return network.graph(network.linear(network.op(Relu(), y), 3, "fc2"))


def test_passes_run_in_order_and_each_result_is_shown() -> None:
    graph = batch_normed()
    seen: list[tuple[str, str]] = []
    passes = (Canonicalise(), Quantise(), Tune(epochs=1))
    result = run_passes(graph, passes, context(graph), lambda step, graph: seen.append((step.name, print_graph(graph))))
    assert [name for name, _ in seen] == ["canonicalise", "quantise", "tune"]
    assert seen[0][1] == print_graph(canonicalise(graph))
    assert seen[2][1] == print_graph(result)


@dataclass(frozen=True)
class Remember(Pass):
    """Keeps the reference graphs that it was run with."""

    name: ClassVar[str] = "remember"
    keeps: ClassVar[Keeps] = Keeps.BITS
    seen: tuple[list[Graph], ...] = ([],)

    def run(self, graph: Graph, context: Context) -> Graph:
        self.seen[0].append(context.reference)
        return graph


def test_the_reference_is_the_last_float_graph() -> None:
    graph = batch_normed()
    remember = Remember(([],))
    passes = (
        remember,
        Canonicalise(),
        remember,
        Tune(epochs=1, learning_rate=1e-2),
        Quantise(),
        remember,
        Tune(epochs=1),
    )
    shown: list[Graph] = []
    run_passes(graph, (*passes, remember), context(graph), lambda step, graph: shown.append(graph))
    assert [id(seen) for seen in remember.seen[0]] == [id(graph), id(shown[1]), id(shown[3]), id(shown[3])]


def test_a_pass_that_breaks_a_graph_is_caught() -> None:
    @dataclass(frozen=True)
    class Break(Pass):
        name: ClassVar[str] = "break"
        keeps: ClassVar[Keeps] = Keeps.BITS

        def run(self, graph: Graph, context: Context) -> Graph:
            return Graph(graph.name, graph.inputs, (), graph.nodes, graph.outputs)

    graph = mlp()
    with pytest.raises(ToolError) as caught:
        run_passes(graph, (Break(),), context(graph))
    assert "%fc1 uses %fc1.weight, which is not defined before it" in str(caught.value)


@pytest.mark.parametrize("kind", PASSES)
def test_every_pass_says_what_it_is(kind: type[Pass]) -> None:
    assert kind.name == re.sub(r"(?<=.)(?=[A-Z])", "_", kind.__name__).lower()
    assert kind.__doc__
    assert isinstance(kind.keeps, Keeps)
    assert read_passes([{"name": kind.name}], WHERE) == (kind(),)


@pytest.mark.parametrize("kind", [kind for kind in PASSES if Weights.FLOATS in kind.takes])
def test_every_pass_gives_a_verified_graph_and_the_same_one_again(kind: type[Pass]) -> None:
    graph = canonicalise(batch_normed())
    step = kind(index_bits=2) if kind in (Share, ShareVectors) else kind()  # there are few weights to share
    first, again = (run_passes(graph, (step,), context(graph)) for _ in range(2))
    assert print_graph(first) == print_graph(again)
    assert [const.data.tolist() for const in first.consts] == [const.data.tolist() for const in again.consts]
