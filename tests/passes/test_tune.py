from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import Graph, Int, Node, TensorType, ToolError, evaluate, exact_dtype, print_graph, prune_dead, verify
from bitkiln.ir.ops import BatchNorm, Linear, Relu, TopK
from bitkiln.passes import Context, Loss, Optimizer, Quantise, Schedule, Tune, accuracy
from bitkiln.passes._codes import with_constants
from bitkiln.passes.tune import scores_graph

from .networks import Network, context, mlp

CLASSES = 3
BRIEF = Tune(epochs=3, batch=16, learning_rate=3e-3)


def task(count: int = 300, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Points in space around one centre for each class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(11)) * 1.5
    y = torch.randint(0, CLASSES, (count,), generator=generator)
    return centres[y] + torch.randn(count, 6, generator=generator), y


def task_context(graph: Graph, seed: int = 0) -> Context:
    x, y = task()
    return Context(x, x, y, seed, graph)


def loss(graph: Graph, x: Tensor, y: Tensor) -> float:
    return float(F.cross_entropy(evaluate(scores_graph(graph), x)[0], y))


def data(graph: Graph) -> dict[str, list[object]]:
    return {const.name: const.data.tolist() for const in graph.consts}


def coarse(graph: Graph) -> Graph:
    return Quantise(weight_bits=2, activation_bits=3).run(graph, task_context(graph))


@pytest.fixture(scope="module")
def trained() -> Graph:
    graph = mlp((6, 16, CLASSES))
    return Tune(epochs=5, batch=16, learning_rate=1e-2).run(graph, task_context(graph))


def test_a_float_graph_is_trained(trained: Graph) -> None:
    x, y = task(seed=4)
    graph = mlp((6, 16, CLASSES))
    assert accuracy(graph, x, y) < 0.6
    assert accuracy(trained, x, y) > 0.85
    assert print_graph(trained) == print_graph(graph)


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("schedule", list(Schedule))
def test_tuning_lowers_the_loss_of_codes(trained: Graph, optimizer: Optimizer, schedule: Schedule) -> None:
    codes = coarse(trained)
    x, y = task()
    tuned = replace(BRIEF, optimizer=optimizer, schedule=schedule).run(codes, task_context(trained))
    before, after = loss(codes, x, y), loss(tuned, x, y)
    assert after < 0.9 * before


def test_the_points_stay_and_only_biases_change_their_width(trained: Graph) -> None:
    codes = coarse(trained)
    tuned = BRIEF.run(codes, task_context(trained))
    assert exact_dtype(tuned) == torch.float32
    assert [node.op for node in tuned.nodes] == [node.op for node in codes.nodes]
    for before, after in zip(codes.consts, tuned.consts, strict=True):
        assert before.type.number.fracs == after.type.number.fracs  # type: ignore[union-attr]  # all are Int
        if before.name.endswith("weight"):
            assert before.type == after.type
            assert not torch.equal(before.data, after.data)


def test_a_bias_may_outgrow_its_format() -> None:
    network = Network((6,))
    weight, bias = network.const("w", torch.zeros(CLASSES, 6)), network.const("b", torch.zeros(CLASSES))
    graph = network.graph(network.op(Linear(), network.x, weight, bias))
    x, y = task()
    always_0 = context(graph, x, torch.zeros_like(y))
    codes = Quantise().run(graph, always_0)
    tuned = Tune(epochs=1, learning_rate=0.2, keep_zeros=False).run(codes, always_0)
    assert [str(each.types["b"]) for each in (codes, tuned)] == ["i1.f[4,4,4]@0[3]", "i5.f[4,4,4]@0[3]"]
    assert accuracy(tuned, x, torch.zeros_like(y)) == 1.0


@pytest.mark.parametrize("quantise", [False, True])
def test_the_same_seed_gives_the_same_graph(trained: Graph, quantise: bool) -> None:
    graph = coarse(trained) if quantise else trained
    first, again = (BRIEF.run(graph, task_context(trained, seed=5)) for _ in range(2))
    assert data(first) == data(again)
    assert data(first) != data(BRIEF.run(graph, task_context(trained, seed=6)))
    assert data(first) == data(replace(BRIEF, seed=5).run(graph, task_context(trained, seed=6)))


def test_the_global_random_state_is_left_alone(trained: Graph) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    BRIEF.run(trained, task_context(trained))
    assert torch.equal(torch.rand(3), expected)


def test_without_an_improvement_the_graph_stays() -> None:
    graph = mlp((6, 16, CLASSES))
    graph = Tune(epochs=20, learning_rate=1e-2).run(graph, task_context(graph))
    wild = Tune(epochs=1, learning_rate=30.0, optimizer=Optimizer.ADAM).run(graph, task_context(graph))
    assert data(wild) == data(graph)


def test_a_second_tuning_starts_where_the_first_one_ended(trained: Graph) -> None:
    codes = coarse(trained)
    first = BRIEF.run(codes, task_context(trained))
    still = Tune(epochs=1, learning_rate=1e-9).run(first, task_context(trained))
    assert data(still) == data(first) != data(codes)


def test_tuning_behind_an_argmax_gives_the_same_as_on_scores(trained: Graph) -> None:
    index = TensorType((1,), Int.holding(0, CLASSES - 1))
    best = Node("best", TopK(), ("fc2",), index)
    with_argmax = verify(replace(trained, nodes=(*trained.nodes, best), outputs=("best",)))
    tuned = [BRIEF.run(coarse(graph), task_context(graph)) for graph in (trained, with_argmax)]
    assert data(tuned[0]) == data(tuned[1])
    assert tuned[1].outputs == ("best",)


def normed() -> Graph:
    network = Network((6,))
    names = ("gamma", "beta", "mean", "variance")
    y = network.op(BatchNorm(), network.linear(network.x, 8, "fc1"), *(network.const(n, torch.ones(8)) for n in names))
    return network.graph(network.linear(network.op(Relu(), y), CLASSES, "fc2"))


def test_batch_norm_ends_with_the_statistics_of_the_training_samples() -> None:
    graph = normed()
    options = Tune(epochs=4, batch=16, learning_rate=1e-2)
    tuned = options.run(graph, task_context(graph))
    changed = {name for name, values in data(graph).items() if data(tuned)[name] != values}
    assert changed == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "gamma", "beta", "mean", "variance"}
    x, _ = task()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    before = evaluate(prune_dead(replace(tuned, outputs=("fc1",))), x[order[30:]])[0]
    assert torch.allclose(tuned.const["mean"].data, before.mean(0), atol=1e-5)
    assert torch.allclose(tuned.const["variance"].data, before.var(0, correction=0), rtol=1e-4)
    assert accuracy(tuned, *task(seed=4)) > 0.85
    assert data(tuned) == data(options.run(graph, task_context(graph)))


def test_batch_norm_needs_more_than_one_sample() -> None:
    graph = normed()
    with pytest.raises(ToolError) as caught:
        Tune(batch=1).run(graph, task_context(graph))
    assert str(caught.value) == "error[number-range]: batch norm trains on batches of at least 2 samples, not 1"


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("quantise", [False, True])
def test_pruned_weights_stay_zero_and_others_may_cross_zero(
    trained: Graph, optimizer: Optimizer, quantise: bool
) -> None:
    weight = trained.const["fc1.weight"]
    is_kept = weight.data.abs() > weight.data.abs().median()
    pruned = with_constants(trained, {weight.name: replace(weight, data=weight.data * is_kept)})
    options = Tune(epochs=3, batch=16, learning_rate=3e-2, optimizer=optimizer, weight_decay=1e-3)
    graph = Quantise(weight_bits=6).run(pruned, task_context(pruned)) if quantise else pruned
    tuned = options.run(graph, task_context(pruned)).const["fc1.weight"].data
    assert not torch.equal(tuned, graph.const["fc1.weight"].data)
    assert bool((tuned[~is_kept] == 0).all())
    revived = replace(options, keep_zeros=False).run(graph, task_context(pruned)).const["fc1.weight"].data
    assert bool((revived[~is_kept] != 0).any())


def test_the_squared_hinge_is_one_class_against_all() -> None:
    scores = torch.tensor([[2.0, -0.5, 0.5], [0.0, 0.5, -3.0]])
    assert float(Loss.SQUARED_HINGE.of(scores, torch.tensor([0, 1]))) == (0.25 + 2.25 + 1.0 + 0.25) / 6


@pytest.mark.parametrize("loss", list(Loss))
def test_every_loss_trains(loss: Loss) -> None:
    graph = mlp((6, 16, CLASSES))
    tuned = Tune(epochs=4, batch=16, learning_rate=1e-2, loss=loss).run(graph, task_context(graph))
    assert accuracy(tuned, *task(seed=4)) > 0.85


def test_progress_goes_from_0_to_1(trained: Graph) -> None:
    seen: list[tuple[str, float]] = []
    watched = replace(task_context(trained), progress=lambda label, part: seen.append((label, part)))
    Tune(epochs=2, batch=135).run(trained, watched)
    assert [part for _, part in seen] == [0.25, 0.5, 0.75, 1.0]
    labels = [label for label, _ in seen]
    assert labels[0] == "tune"
    assert labels[1] == labels[2]
    assert re.fullmatch(r"tune 1/2: loss \d\.\d{4}, held out \d+\.\d\d%", labels[1])
    assert re.fullmatch(r"tune 2/2: loss \d\.\d{4}, held out \d+\.\d\d%", labels[3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tune(epochs=0), "epochs must be at least 1, not 0"),
        (lambda: Tune(batch=0), "batch must be at least 1, not 0"),
        (lambda: Tune(learning_rate=0.0), "learning_rate must be greater than 0, not 0"),
        (lambda: Tune(learning_rate=float("nan")), "learning_rate must be greater than 0, not nan"),
        (lambda: Tune(momentum=1.0), "momentum must be from 0 to below 1, not 1"),
        (lambda: Tune(weight_decay=-0.1), "weight_decay must be at least 0, not -0.1"),
        (lambda: Tune(held_out=1.0), "held_out must be between 0 and 1, not 1"),
    ],
)
def test_options_out_of_range_are_named(make: Callable[[], Tune], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        make()
    assert str(caught.value) == f"error[number-range]: {message}"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            torch.zeros(0, 6),
            torch.zeros(0, dtype=torch.int64),
            "error[empty-data]: The training data is empty; at least one sample [6] is needed",
        ),
        (
            torch.zeros(1, 6),
            torch.zeros(1, dtype=torch.int64),
            "error[empty-data]: The training data has 1 sample; tuning needs some to train on, some to hold out",
        ),
        (
            torch.zeros(4, 6),
            torch.tensor([0, 1, 2, 3]),
            "error[bad-labels]: The labels of the training data go from 0 to 3; the network has the classes 0 to 2",
        ),
    ],
)
def test_unfit_training_data_are_named(trained: Graph, x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        BRIEF.run(trained, context(trained, x, y))
    assert str(caught.value) == message


def test_training_that_runs_off_is_an_error(trained: Graph) -> None:
    options = Tune(epochs=1, learning_rate=1e30, optimizer=Optimizer.SGD, schedule=Schedule.CONSTANT)
    with pytest.raises(ToolError) as caught:
        options.run(trained, task_context(trained))
    assert str(caught.value) == (
        "error[diverged]: Training ran off to NaN or infinite weights in epoch 1\n"
        "  help: set a learning_rate below 1e+30"
    )
