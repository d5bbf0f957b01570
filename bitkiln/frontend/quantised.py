"""From a program with quantisers to exact integers, whichever door it came through."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir import Graph, check_finite, exact_dtype, is_quantised
from bitkiln.passes.canonicalise import canonicalise
from bitkiln.passes.grids import Grid
from bitkiln.passes.streamline import streamline

from ._aten import RULES
from ._lower import lower_counting
from ._order import with_ordered_constants
from ._program import Program
from ._quant_program import decode_quantisers, is_quantised_program
from ._quant_rules import QUANTISERS


def lower_quantised(program: Program) -> Graph:
    """Return the Graph as the program computes: floats, with quantisers and what their codes stand for."""
    return _lower(program)[0]


def finish_quantised(program: Program, grids: Mapping[int, Grid] | None = None) -> tuple[Graph, int]:
    """Lower a program and bring the Graph to its canonical form, of integers where its quantisers allow it; also
    return the multiply-accumulates that were done at import.

    The quantisers may still be those of pt2e; else `grids` gives the grid of constants that a quantiser made, by the
    address of their data. Raises ToolError `unsupported-op`, `accumulator-too-wide`, ...
    """
    if is_quantised_program(program):
        program, grids = decode_quantisers(program)
    graph, folded_macs = _lower(program)
    if any(call.target in QUANTISERS for call in program.calls):
        graph = streamline(graph, grids or {})
    graph = with_ordered_constants(canonicalise(graph))
    if is_quantised(graph):
        exact_dtype(graph)  # raises if some accumulator is too wide to be evaluated exactly
    return graph, folded_macs


def _lower(program: Program) -> tuple[Graph, int]:
    graph, folded_macs = lower_counting(program, {**RULES, **QUANTISERS})
    check_finite(graph)
    return graph, folded_macs
