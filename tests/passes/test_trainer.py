from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, ToolError, evaluate
from bitkiln.ir.ops import BatchNorm, Conv2d, Linear, Relu, Reshape
from bitkiln.passes import (
    Context,
    GradualPrune,
    LayerDropout,
    Loss,
    Optimizer,
    Prune,
    Quantise,
    Schedule,
    Share,
    Tune,
    run_passes,
)
from bitkiln.passes._codes import with_constants
from bitkiln.passes._in_training import Dropout, for_training, moved
from bitkiln.passes._objectives import learning_rate_factor

from .networks import Network, context, mlp, samples


class KilledError(Exception):
    """Stands for a kill."""


@dataclass
class Memory:
    """Checkpoints that stop the run when they have been saved `saves` times."""

    saves: int
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def load(self, key: str) -> Mapping[str, Tensor] | None:
        return self.states.get(key)

    def save(self, key: str, state: Mapping[str, Tensor]) -> None:
        self.states[key] = {name: value.clone() for name, value in state.items()}
        self.saves -= 1
        if self.saves == 0:
            raise KilledError


def data(graph: Graph) -> dict[str, list[object]]:
    return {const.name: const.data.tolist() for const in graph.consts}


def normed() -> Graph:
    network = Network((6,))
    statistics = (network.const(name, torch.ones(8)) for name in ("gamma", "beta", "mean", "variance"))
    y = network.op(BatchNorm(), network.linear(network.x, 8, "fc1"), *statistics)
    return network.graph(network.linear(network.op(Relu(), y), 3, "fc2"))


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("saves", [1, 3, 5])
def test_a_killed_training_goes_on_to_the_same_result(optimizer: Optimizer, saves: int) -> None:
    graph = normed()
    options = Tune(epochs=5, batch=16, learning_rate=1e-2, optimizer=optimizer, dropout=(LayerDropout("fc2", 0.3),))
    expected = options.run(graph, context(graph))
    memory = Memory(saves)
    with pytest.raises(KilledError):
        options.run(graph, replace(context(graph), checkpoints=memory))
    again = options.run(graph, replace(context(graph), checkpoints=memory))
    assert data(again) == data(expected)


def test_a_killed_chain_goes_on_to_the_same_result() -> None:
    graph = mlp((6, 16, 3))
    tune = Tune(epochs=2, batch=16, learning_rate=1e-2)
    chain = (tune, GradualPrune(Prune(0.3), tune, steps=2), Share(2), tune, Quantise(), tune)
    expected = run_passes(graph, chain, context(graph))
    for saves in (1, 4, 7, 10):
        memory = Memory(saves)
        watched = replace(context(graph), checkpoints=memory)
        with pytest.raises(KilledError):
            run_passes(graph, chain, watched)
        assert data(run_passes(graph, chain, watched)) == data(expected)


def test_a_finished_training_is_not_repeated() -> None:
    graph, memory = mlp(), Memory(-1)
    watched = replace(context(graph), checkpoints=memory)
    first = Tune(epochs=2).run(graph, watched)
    labels: list[str] = []
    again = Tune(epochs=2).run(graph, replace(watched, progress=lambda label, part: labels.append(label)))
    assert data(again) == data(first)
    assert not labels
    Tune(epochs=2, learning_rate=1e-2).run(graph, watched)
    assert len(memory.states) == 2
    for seed in (8, 9):
        Tune(epochs=2, distil=0.5).run(graph, replace(watched, teacher=mlp(seed=seed)))
    assert len(memory.states) == 4


def weight_after(options: Tune, graph: Graph) -> Tensor:
    return options.run(graph, context(graph)).const["fc1.weight"].data


def test_penalties_make_weights_smaller() -> None:
    graph = mlp((6, 16, 3))
    plain = Tune(epochs=5, batch=16, learning_rate=1e-2, keep_best=False)
    size = weight_after(plain, graph).abs()
    by_l1, by_l2 = (
        weight_after(options, graph).abs() for options in (replace(plain, l1=0.05), replace(plain, l2=0.05))
    )
    assert by_l1.sum() < 0.8 * size.sum()
    assert by_l2.square().sum() < 0.8 * size.square().sum()
    assert (by_l1 < 0.01).sum() > (by_l2 < 0.01).sum()


def test_without_keep_best_the_last_epoch_stays() -> None:
    graph = mlp((6, 16, 3))
    options = Tune(epochs=1, learning_rate=1e3, optimizer=Optimizer.ADAM, loss=Loss.SQUARED_HINGE)
    assert data(options.run(graph, context(graph))) == data(graph)
    assert data(replace(options, keep_best=False).run(graph, context(graph))) != data(graph)


def test_dropout_is_scaled_by_the_root_of_the_density() -> None:
    graph = mlp((6, 16, 3))
    weight = graph.const["fc2.weight"]
    pruned = with_constants(graph, {weight.name: replace(weight, data=weight.data * (torch.arange(16) < 4))})
    rates = (LayerDropout("fc*", 0.5), LayerDropout("layers.fc2", 0.4))
    training = for_training(pruned, rates, torch.Generator())
    drops = {node.name: node.op.rate for node in training.nodes if isinstance(node.op, Dropout)}
    assert drops == {"fc1.dropout": 0.5, "fc2.dropout": pytest.approx(0.2)}
    assert training.node["fc2"].args[0] == "fc2.dropout"


def test_dropout_keeps_the_mean() -> None:
    dropped = Dropout(0.25, torch.Generator().manual_seed(1)).evaluate(torch.ones(1000, 100))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)


def test_dropout_of_codes_and_of_nothing() -> None:
    graph = mlp()
    codes = Quantise().run(graph, context(graph))
    with pytest.raises(ToolError, match=r"cannot-tune\]: dropout before %fc1: its input is u?i?8"):
        Tune(dropout=(LayerDropout("fc1", 0.5),)).run(codes, context(graph))
    with pytest.raises(ToolError, match="unknown-layer"):
        Tune(dropout=(LayerDropout("fc9", 0.5),)).run(graph, context(graph))
    with pytest.raises(ToolError, match="rate of the layers 'fc1' must be from 0 to below 1, not 1"):
        LayerDropout("fc1", 1.0)


def test_schedules() -> None:
    def factors(schedule: Schedule) -> list[float]:
        return [learning_rate_factor(schedule, done, 4, 2, 0.1) for done in (0.0, 1.0, 2.0, 3.5)]

    assert factors(Schedule.CONSTANT) == [1.0, 1.0, 1.0, 1.0]
    assert factors(Schedule.STEP) == [1.0, 1.0, 0.1, 0.1]
    assert factors(Schedule.COSINE) == pytest.approx([1.0, 0.8535534, 0.5, 0.0380602])


def test_images_are_moved() -> None:
    x = torch.zeros(2, 1, 4, 4)
    x[:, :, 1, 2] = 1.0
    generator = torch.Generator().manual_seed(0)
    seen = {tuple(torch.nonzero(moved(x, 1, generator)[0, 0])[0].tolist()) for _ in range(60)}
    assert seen == {(row, column) for row in (0, 1, 2) for column in (1, 2, 3)}
    assert moved(x, 0, generator) is x


def test_moving_is_for_images() -> None:
    graph = mlp()
    with pytest.raises(ToolError, match=r"shift_pixels moves images \[N, C, H, W\], not samples of \[6\]"):
        Tune(shift_pixels=1).run(graph, context(graph))
    network = Network((1, 6, 6))
    flat = network.op(Reshape((1, 32)), network.conv(network.x, 2, "conv", Conv2d()))
    image = network.graph(network.linear(flat, 3, "fc"))
    tuned = Tune(epochs=1, shift_pixels=1, keep_best=False).run(image, context(image))
    assert data(tuned) != data(image)


def test_a_teacher_is_followed() -> None:
    graph, teacher = mlp((6, 16, 3)), mlp((6, 16, 3), seed=8)
    x = samples(graph, 300)
    labels = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(2))
    watched = Context(x, x, labels, 0, graph, teacher=teacher)
    options = Tune(epochs=30, batch=16, learning_rate=1e-2, distil=1.0, temperature=2.0, keep_best=False)

    def agreement(found: Graph) -> float:
        return float((evaluate(found, x)[0].argmax(1) == evaluate(teacher, x)[0].argmax(1)).double().mean())

    assert agreement(graph) < 0.6
    assert agreement(options.run(graph, watched)) > 0.9


def test_a_mask_survives_a_long_momentum() -> None:
    network = Network((6,))
    weight = network.const("w", torch.tensor([[0.0, 1, 1, 1, 1, 1]] * 3))
    graph = network.graph(network.op(Linear(), network.x, weight))
    options = Tune(epochs=3, batch=8, learning_rate=0.1, momentum=0.99, optimizer=Optimizer.SGD, keep_best=False)
    tuned = options.run(graph, context(graph)).const["w"].data
    assert tuned[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert bool((tuned[:, 1:] != 1.0).all())
