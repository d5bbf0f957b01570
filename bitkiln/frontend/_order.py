"""One order for programs that compute the same: exporters differ in where they put calls, and in how they cut tensors.

Names are numbered as calls are lowered, so the order decides the text of the Graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitkiln.ir import Graph

from ._program import Call, Program, input_names


def ordered(program: Program) -> Program:
    """Return the program with each call just before the first that needs it, one call a result, and no others."""
    producers: dict[str, tuple[int, int]] = {}  # value: its call and which of the results it is
    for i, call in enumerate(program.calls):
        producers |= {name: (i, k) for k, name in enumerate(call.results) if name}
    calls: list[Call] = []
    done: set[tuple[int, int]] = set()
    for output in program.outputs:
        stack = [output]
        while stack:
            place = producers.get(stack[-1])
            if place is None or place in done:
                stack.pop()
                continue
            call = program.calls[place[0]]
            missing = _missing(call, producers, done)
            if missing:
                stack += reversed(missing)
            else:
                done.add(place)
                calls.append(_only(call, place[1]))
    return replace(program, calls=tuple(calls))


def _missing(call: Call, producers: Mapping[str, tuple[int, int]], done: set[tuple[int, int]]) -> list[str]:
    """The arguments that are still to be computed."""
    return [name for name in input_names(call) if name in producers and producers[name] not in done]


def _only(call: Call, which: int) -> Call:
    """The call for one of its results; the others lose their names."""
    results = tuple(name if k == which else "" for k, name in enumerate(call.results))
    return replace(call, results=results)


def with_ordered_constants(graph: Graph) -> Graph:
    """Return the graph with its constants in the order in which nodes first read them: folding appends new ones, and
    exporters fold what import folds."""
    places: dict[str, int] = {}
    for node in graph.nodes:
        for arg in node.args:
            places.setdefault(arg, len(places))
    return replace(graph, consts=tuple(sorted(graph.consts, key=lambda const: places.get(const.name, len(places)))))
