"""Quantised Graph to Plan: which unit computes which node, how far it is folded, and the queues between them."""

from __future__ import annotations

from dataclasses import replace

from bitkiln.ir import Graph, Plan, prune_dead

from ._assembly import INPUT_STREAM, OUTPUT_STREAM, Assembler
from ._folding import fold
from ._layers import Layer
from ._lowering import lower
from ._options import LayerFolding, PlanOptions
from ._products import ProductLayer

__all__ = ["LayerFolding", "PlanOptions", "schedule"]


def schedule(graph: Graph, options: PlanOptions) -> Plan:
    """Return the Plan that computes the codes of `graph`, bit for bit.

    The host quantises the input and dequantises the output; the Plan takes and gives codes. Every queue is deep enough
    for its producer's full rate; `bitkiln.sim.queues.size_queues` deepens those where that does not do for the whole.
    Same graph and options, same plan. Raises ToolError `unsupported-graph`, `no-unit` or `bad-folding`.
    """
    lowered = lower(prune_dead(graph), options.renewable)
    folded = [(_with_banks(layer, options.weight_banks), folding) for layer, folding in fold(lowered, options)]
    stages, streams = Assembler(lowered).assemble(folded)
    return Plan(
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


def _with_banks(layer: Layer, banks: int) -> Layer:
    return replace(layer, banks=banks) if isinstance(layer, ProductLayer) else layer
