from __future__ import annotations

import pytest

from bitkiln.ir import ToolError
from bitkiln.passes import (
    Canonicalise,
    GradualPrune,
    Pass,
    Prune,
    Quantise,
    Share,
    Tune,
    Weights,
    check_order,
    read_passes,
    run_passes,
)
from bitkiln.passes._order import weights_of

from .networks import context, mlp


@pytest.mark.parametrize(
    "passes",
    [
        (),
        (Tune(), GradualPrune(), Prune(), Share(), Tune(), Quantise(), Tune(), Canonicalise()),
        (Prune(), Quantise()),
    ],
)
def test_orders_that_make_sense(passes: tuple[Pass, ...]) -> None:
    check_order(passes)


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        (
            (Quantise(), Share()),
            "error[pass-order]: share works on weights that are floats, but quantise makes them fixed point\n"
            "  help: put share before quantise",
        ),
        (
            (Share(), Tune(), Share()),
            "error[pass-order]: share works on weights that are floats, but share makes them shared\n"
            "  help: leave the second share out",
        ),
        (
            (Share(), Prune(), Quantise(), Quantise()),
            "error[pass-order]: prune works on weights that are floats or floats behind quantisers, but share makes "
            "them shared\n"
            "  help: put prune before share\n"
            "error[pass-order]: quantise works on weights that are floats or shared, but quantise makes them fixed "
            "point\n"
            "  help: leave the second quantise out",
        ),
    ],
)
def test_orders_that_make_none(passes: tuple[Pass, ...], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        check_order(passes)
    assert str(caught.value) == message


def test_the_order_in_a_project_file_is_checked_when_it_is_read() -> None:
    with pytest.raises(ToolError) as caught:
        read_passes([{"name": "quantise"}, {"name": "gradual_prune"}], "project.toml [[passes]]")
    assert str(caught.value) == (
        "error[pass-order]: project.toml [[passes]]: gradual_prune works on weights that are floats or floats behind "
        "quantisers, but quantise makes them fixed point\n"
        "  help: put gradual_prune before quantise"
    )


def test_what_a_graph_holds() -> None:
    graph = mlp()
    assert weights_of(graph) is Weights.FLOATS
    assert weights_of(run_passes(graph, (Share(2),), context(graph))) is Weights.SHARED
    assert weights_of(run_passes(graph, (Quantise(),), context(graph))) is Weights.CODES


def test_names_are_checked_before_anything_is_trained() -> None:
    graph, seen = mlp(), list[str]()
    chain = read_passes([{"name": "tune"}, {"name": "prune", "layers": [{"layer": "fc9", "density": 0.1}]}], "here")
    with pytest.raises(ToolError) as caught:
        run_passes(graph, chain, context(graph), lambda step, graph: seen.append(step.name))
    assert "No layer of tiny with weights matches 'fc9'" in str(caught.value)
    assert not seen
