"""From a program with quantisers to exact integers, whichever door it came through."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir import Graph, check_finite, exact_dtype, is_quantised
from bitkiln.passes.canonicalise import canonicalise
from bitkiln.passes.grids import Grid
from bitkiln.passes.streamline import streamline

from ._aten import RULES
from ._lower import lower
from ._program import Program
from ._quant_rules import QUANTISERS


def lower_quantised(program: Program) -> Graph:
    """Return the Graph as the program computes: floats, with quantisers and what their codes stand for."""
    graph = lower(program, {**RULES, **QUANTISERS})
    check_finite(graph)
    return graph


def finish_quantised(program: Program, grids: Mapping[int, Grid]) -> Graph:
    """Lower a program and bring the Graph to its canonical form, of integers where its quantisers allow it.

    `grids` gives the grid of constants that a quantiser made, by the address of their data.
    """
    graph = lower_quantised(program)
    if not any(call.target in QUANTISERS for call in program.calls):
        return canonicalise(graph)
    graph = canonicalise(streamline(graph, grids))
    if is_quantised(graph):
        exact_dtype(graph)  # raises if some accumulator is too wide to be evaluated exactly
    return graph
