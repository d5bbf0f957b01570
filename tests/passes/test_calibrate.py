from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import Graph, Int, ToolError
from bitkiln.ir.ops import Add, Relu
from bitkiln.passes import Calibration, calibrate
from bitkiln.passes.calibrate import CANDIDATES, safe_point

from .networks import Network, mlp, samples


def identity() -> Graph:
    """A graph whose value %relu is its input, where that is not negative."""
    network = Network((1,))
    return network.graph(network.op(Relu(), network.x))


def point(values: list[float], number: Int, method: Calibration, percentile: float = 99.99) -> int:
    x = torch.tensor(values).reshape(-1, 1)
    return calibrate(identity(), x, {"x": number}, method, percentile)["x"].fracs[0]


@pytest.mark.parametrize(
    ("lo", "hi", "number", "expected"),
    [
        (0.0, 1.0, Int(8, False), 7),
        (0.0, 255 / 256, Int(8, False), 8),
        (0.0, 255.49 / 256, Int(8, False), 8),
        (0.0, 255.5 / 256, Int(8, False), 7),
        (-1.0, 0.5, Int(8), 7),
        (-1.0, 1.0, Int(8), 6),
        (-1.01, 0.0, Int(8), 6),
        (-128.5, 0.0, Int(8), 0),
        (-5.0, 0.9, Int(2, False), 1),
        (0.0, 1e9, Int(8, False), -22),
        (0.0, 1e30, Int(8, False), -30),
        (0.0, 1e-30, Int(8, False), 30),
        (0.0, 0.0, Int(8), 0),
        (-3.0, 0.0, Int(8, False), 0),
    ],
)
def test_safe_point_is_the_rightmost_without_saturation(lo: float, hi: float, number: Int, expected: int) -> None:
    assert safe_point(lo, hi, number) == expected


def test_min_max_covers_the_outlier() -> None:
    assert point([*[0.4] * 9999, 100.0], Int(8, False), Calibration.MIN_MAX) == 1


def test_percentile_lets_the_allowed_part_saturate() -> None:
    values = [*[0.4] * 9998, 3.0, 100.0]
    assert point(values, Int(8, False), Calibration.PERCENTILE, 100.0) == 1
    assert point(values, Int(8, False), Calibration.PERCENTILE, 99.99) == 6
    assert point(values, Int(8, False), Calibration.PERCENTILE, 99.98) == 9


def test_mse_weighs_saturation_against_rounding() -> None:
    few, many = [*[0.34] * 9999, 1.1], [0.34, 1.1]
    assert point(few, Int(4, False), Calibration.MSE) == 5
    assert point(many, Int(4, False), Calibration.MSE) == 3


def test_mse_keeps_the_leftmost_of_equally_good_points() -> None:
    assert point([0.0, 0.25, 0.5, 1.0], Int(8, False), Calibration.MSE) == 7


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40),
    st.integers(2, 8),
    st.booleans(),
)
def test_mse_is_the_best_of_all_candidates(values: list[float], bits: int, signed: bool) -> None:
    values = values if signed else [abs(value) for value in values]
    number = Int(bits, signed)
    first = safe_point(min(values), max(values), number)

    def cost(frac: int) -> float:
        codes = [min(max(math.floor(value * 2.0**frac + 0.5), number.lo), number.hi) for value in values]
        return sum((code * 2.0**-frac - value) ** 2 for code, value in zip(codes, values, strict=True))

    best = min(cost(first + step) for step in range(CANDIDATES))
    assert cost(point(values, number, Calibration.MSE)) == pytest.approx(best, rel=1e-5, abs=1e-12)


def test_samples_in_several_batches_count_all() -> None:
    x = torch.full((1000, 1), 0.3)
    x[700] = 5.0
    assert calibrate(identity(), x, {"x": Int(8)}, Calibration.MIN_MAX)["x"] == Int(8, True, 4)


def test_values_inside_the_graph_get_their_own_points() -> None:
    network = Network((4,))
    double = network.op(Add(), network.x, network.x)
    graph = network.graph(network.op(Relu(), double))
    x = torch.tensor([[-3.0, 0.0, 0.2, 0.7]])
    wanted = {"x": Int(8), "add": Int(6), "relu": Int(8, False)}
    expected = {"x": Int(8, True, 5), "add": Int(6, True, 2), "relu": Int(8, False, 7)}
    assert calibrate(graph, x, wanted, Calibration.MIN_MAX) == expected


def test_progress_reaches_the_end_of_both_runs() -> None:
    seen: list[tuple[str, float]] = []
    graph = mlp()
    calibrate(
        graph,
        samples(graph, 300),
        {"fc1": Int(8)},
        Calibration.MSE,
        progress=lambda label, fraction: seen.append((label, fraction)),
    )
    assert seen == [
        ("calibrate: ranges", 256 / 300),
        ("calibrate: ranges", 1.0),
        ("calibrate: points", 256 / 300),
        ("calibrate: points", 1.0),
    ]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(0, 6),
            "error[empty-data]: The calibration data is empty; at least one sample [6] is needed",
        ),
        (
            torch.zeros(5, 2, 3),
            "error[input-mismatch]: The calibration data has samples of shape [2, 3]; tiny takes [6]",
        ),
        (
            torch.tensor([[0.0, math.nan, 1.0, math.inf, 2.0, 3.0]]),
            "error[not-finite]: The calibration data has 2 NaN or infinite values of 6\n"
            "  help: check how the data are read and scaled",
        ),
    ],
)
def test_unfit_samples_are_named(x: Tensor, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        calibrate(mlp(), x, {"fc1": Int(8)}, Calibration.MSE)
    assert str(caught.value) == message


def test_a_value_that_overflows_is_named_with_its_place() -> None:
    graph = mlp()
    consts = tuple(
        replace(const, data=const.data * 1e38) if const.name == "fc1.weight" else const for const in graph.consts
    )
    graph = replace(graph, consts=consts)
    with pytest.raises(ToolError) as caught:
        calibrate(graph, samples(graph) * 100, {"x": Int(8), "fc1": Int(8)}, Calibration.MIN_MAX)
    assert str(caught.value) == (
        "error[not-finite]: %fc1 becomes NaN or infinite on the calibration data\n"
        "  --> model.py:7 (layers.fc1)\n"
        "  help: scale the input as in training, or load another checkpoint"
    )
