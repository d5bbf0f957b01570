"""Quantised Graph to Plan: which unit computes which node, how far it is folded, and the queues between them."""

from __future__ import annotations

from dataclasses import replace

from bitkiln.boards import Resources, find_board
from bitkiln.ir import Graph, Plan, prune_dead

from ._assembly import INPUT_STREAM, OUTPUT_STREAM, Assembler
from ._folding import choices_by_hand, fold
from ._layers import Folding, Layer
from ._lowering import Lowered, lower
from ._options import Goal, LayerFolding, PlanOptions
from ._products import ProductLayer
from .board_folding import BoardFolding, fold_on_board, limits_on

__all__ = ["Goal", "LayerFolding", "PlanOptions", "schedule", "schedule_explained"]

NO_RESERVE = Resources()


def schedule(graph: Graph, options: PlanOptions) -> Plan:
    """Return the Plan that computes the codes of `graph`, bit for bit.

    The host quantises the input and dequantises the output; the Plan takes and gives codes. Every queue is deep enough
    for its producer's full rate; `bitkiln.sim.queues.size_queues` deepens those where that does not do for the whole.
    Same graph and options, same plan. Raises ToolError `unsupported-graph`, `no-unit`, `bad-folding`, and for a board
    `does-not-fit` and `goal-out-of-reach`.
    """
    return schedule_explained(graph, options)[0]


def schedule_explained(
    graph: Graph, options: PlanOptions, reserve: Resources = NO_RESERVE
) -> tuple[Plan, BoardFolding | None]:
    """Return the Plan, and for a board why it is folded as it is; `reserve` is kept free on the board."""
    lowered = lower(prune_dead(graph), options.renewable)
    folded, why = _folded(lowered, options, reserve)
    stages, streams = Assembler(lowered).assemble(folded)
    plan = Plan(
        graph=graph,
        stages=stages,
        streams=streams,
        input_value=lowered.input,
        output_value=lowered.output,
        input_stream=INPUT_STREAM,
        output_stream=OUTPUT_STREAM,
        input_order=lowered.input_order,
        output_order=lowered.output_order,
        clock_hz=options.clock_mhz * 1e6,
    )
    return plan, why


def _folded(
    lowered: Lowered, options: PlanOptions, reserve: Resources
) -> tuple[list[tuple[Layer, Folding]], BoardFolding | None]:
    goal = options.board_goal
    if goal is None:
        return [(_with_banks(layer, options.weight_banks), folding) for layer, folding in fold(lowered, options)], None
    board = find_board(options.board)
    wished = choices_by_hand(lowered.layers, options.layers)
    layers = [(_with_banks(layer, options.weight_banks), foldings) for layer, foldings in wished]
    limits = limits_on(board, reserve, options.dsp)
    return fold_on_board(lowered, layers, board, goal, (options.interval_goal, options.wanted), limits)


def _with_banks(layer: Layer, banks: int) -> Layer:
    return replace(layer, banks=banks) if isinstance(layer, ProductLayer) else layer
