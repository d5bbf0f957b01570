"""From a graph to a Plan whose queues have their depths; for a board, one that fits there with them."""

from __future__ import annotations

from dataclasses import replace

from bitkiln.boards import Resources, find_board
from bitkiln.boards.cost import predict_resources
from bitkiln.ir import Graph, Plan, fail
from bitkiln.passes.board_folding import BoardFolding, limits_on
from bitkiln.passes.schedule import PlanOptions, schedule_explained

from .queues import size_queues

MOST_ROUNDS = 4


def plan_graph(graph: Graph, options: PlanOptions) -> tuple[Plan, BoardFolding | None]:
    """Return the Plan with its queues sized, and for a board why it is folded as it is.

    Queues that hold a skip path back until the other path has come may be deep. What they take is kept free, and the
    folding is sought again. Raises what `schedule` raises.
    """
    reserve = Resources()
    for _ in range(MOST_ROUNDS):
        plan, why = schedule_explained(graph, options, reserve)
        plan = size_queues(plan)
        if why is None:
            return plan, None
        board = find_board(why.board)
        used = predict_resources(plan, board)
        limits = limits_on(board, Resources(), options.dsp)
        if used.fits(limits):
            return plan, replace(why, used=used)
        reserve = _more(reserve, used, limits)
    short = ", ".join(f"{used[kind]} {kind.value.upper()} of {limits[kind]}" for kind in used.missing(limits))
    raise fail("does-not-fit", f"with its queues the folding does not fit on {board.title}: it needs {short}")


def _more(reserve: Resources, used: Resources, limits: Resources) -> Resources:
    """Keep as much more free as was too much."""
    return Resources(**{kind.value: kept + max(0, used[kind] - limits[kind]) for kind, kept in reserve})
