"""The folding that is sought for a board: it fits by the model, and says what binds."""

from __future__ import annotations

import itertools

import pytest
import torch

from bitkiln.boards import find_board
from bitkiln.boards.cost import predict_resources
from bitkiln.ir import Builder, Graph, Int, Location, TensorType, ToolError
from bitkiln.ir.ops import Dequantise, Linear, Requantise
from bitkiln.passes.schedule import Goal, LayerFolding, PlanOptions, schedule, schedule_explained

SIZES = (64, 32, 10)


def perceptron(sizes: tuple[int, ...] = SIZES) -> Graph:
    """Linear layers of 8-bit weights and activations."""
    generator, build = torch.Generator().manual_seed(0), Builder("perceptron")
    number = Int(8, False, 7)
    x = build.input("x", TensorType((1, sizes[0]), number))
    for i, (columns, rows) in enumerate(itertools.pairwise(sizes), 1):
        codes = torch.randint(-127, 128, (rows, columns), generator=generator).to(torch.int8)
        weight = build.constant(f"w{i}", TensorType((rows, columns), Int(8, True, 7)), codes)
        x = build.add(Linear(), (x, weight), f"fc{i}", Location(module=f"fc{i}"))
        x = build.add(Requantise(number, (7,)), (x,), f"codes{i}")
    return build.graph((build.add(Dequantise((7,)), (x,), "scores"),))


@pytest.mark.parametrize("board", ["icebreaker", "hx8k-breakout", "ulx3s-25f"])
def test_the_fastest_that_fits_uses_no_more_than_there_is_and_says_what_binds(board: str) -> None:
    plan, why = schedule_explained(perceptron(), PlanOptions(board=board))
    assert why is not None
    assert why.goal is Goal.FASTEST
    assert why.is_proven
    assert why.used.fits(why.limits)
    assert predict_resources(plan, find_board(board)).fits(why.limits)
    assert why.bottleneck
    assert {layer.interval for layer in why.layers if layer.name in why.bottleneck} == {why.interval}
    if why.next_step:
        assert why.next_step.interval < why.interval
        assert why.next_step.binding == why.next_step.needed.missing(why.limits)


def test_the_smallest_reaches_the_rate_and_no_faster_one_is_smaller() -> None:
    graph = perceptron()
    _, fastest = schedule_explained(graph, PlanOptions(board="icebreaker"))
    _, smallest = schedule_explained(graph, PlanOptions(board="icebreaker", frames_per_second=10_000))
    assert fastest is not None
    assert smallest is not None
    assert smallest.goal is Goal.SMALLEST
    assert fastest.interval < smallest.interval <= 1200  # 12 MHz / 10,000
    assert smallest.used.lut < fastest.used.lut


def test_the_least_latency_is_no_slower_in_all_than_the_fastest() -> None:
    graph = perceptron()
    _, fastest = schedule_explained(graph, PlanOptions(board="ulx3s-25f"))
    _, latency = schedule_explained(graph, PlanOptions(board="ulx3s-25f", goal=Goal.LATENCY))
    assert fastest is not None
    assert latency is not None
    assert sum(layer.interval for layer in latency.layers) <= sum(layer.interval for layer in fastest.layers)


def test_what_is_said_by_hand_stays() -> None:
    wish = (LayerFolding("fc1", pe=2, simd=4),)
    _, why = schedule_explained(perceptron(), PlanOptions(board="ulx3s-25f", layers=wish))
    assert why is not None
    assert (why.layers[0].pe, why.layers[0].simd, why.interval) == (2, 4, 256)


def test_a_budget_of_multipliers_leaves_nothing_to_seek() -> None:
    graph = perceptron()
    with_board = schedule_explained(graph, PlanOptions(board="icebreaker", max_multipliers=4))
    assert with_board[1] is None
    assert with_board[0].multipliers == schedule(graph, PlanOptions(max_multipliers=4)).multipliers


def test_a_rate_that_no_folding_reaches() -> None:
    options = PlanOptions(board="icebreaker", target_interval=1)
    with pytest.raises(ToolError) as error:
        schedule(perceptron(), options)
    (found,) = error.value.diagnostics
    assert found.slug == "goal-out-of-reach"
    assert found.message.startswith(
        "a target_interval of 1 cycles is out of reach on iCEBreaker (iCE40 UP5K): the fastest folding that fits takes "
    )
    assert found.hint is not None
    assert " cycles would need " in found.hint


def test_weights_for_which_there_is_no_room() -> None:
    with pytest.raises(ToolError) as error:
        schedule(perceptron((256, 128, 10)), PlanOptions(board="icebreaker"))
    assert str(error.value) == (
        "error[does-not-fit]: no folding fits on iCEBreaker (iCE40 UP5K): the smallest needs 68 BRAM of 30 that may be "
        "used\n  help: give the weights fewer bits, or prune more"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": Goal.FASTEST}, "the goal 'fastest' is of a board"),
        (
            {"goal": Goal.LATENCY, "board": "icebreaker", "max_multipliers": 3},
            "max_multipliers leaves no goal to seek, such as 'latency'",
        ),
        ({"goal": Goal.SMALLEST, "board": "icebreaker"}, "the goal 'smallest' is the smallest that reaches a rate"),
    ],
)
def test_goals_that_lack_something(options: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        PlanOptions(**options)  # type: ignore[arg-type]  # of mixed types
