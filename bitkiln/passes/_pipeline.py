"""The known passes, reading them from a project file, and running them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from bitkiln.ir import Graph, ToolError, fail, from_plain, known_names, verify

from ._base import Context, Keeps, Pass
from ._order import check_order, weights_of
from ._quantisable import has_codes
from .binarise import Binarise
from .canonicalise import canonicalise
from .code import Code
from .dead import RemoveDead
from .fake_quantise import FakeQuantise
from .freeze_powers import FreezePowers
from .gradual_prune import GradualPrune
from .harden import Harden
from .hash_weights import HashWeights
from .prune import Prune
from .prune_channels import PruneChannels
from .quantise import Quantise
from .share import Share
from .share_vectors import ShareVectors
from .tune import Tune


@dataclass(frozen=True)
class Canonicalise(Pass):
    """Bring a graph into its simplest form: batch norm folded, constants computed, identities gone."""

    name: ClassVar[str] = "canonicalise"
    keeps: ClassVar[Keeps] = Keeps.BITS

    def run(self, graph: Graph, context: Context) -> Graph:
        return canonicalise(graph)


PASSES: tuple[type[Pass], ...] = (
    *(Canonicalise, Prune, GradualPrune, PruneChannels, RemoveDead, Share, ShareVectors, HashWeights, Quantise),
    *(Binarise, FakeQuantise, FreezePowers, Harden, Tune, Code),
)


def read_passes(tables: object, where: str) -> tuple[Pass, ...]:
    """Return the passes that a list of tables describes: `name` chooses the pass, the other keys are its options.

    `where` names the place for messages, e.g. `project.toml [[passes]]`. Raises ToolError `unknown-pass`,
    `unknown-key`, `bad-value`, `number-range`, or `pass-order` for an order that makes sense for no float network.
    """
    if not isinstance(tables, list | tuple):
        kind = "one table" if isinstance(tables, dict) else repr(tables)[:80]
        hint = 'begin each pass with [[passes]] and its name = "..."'
        raise fail("bad-value", f"{where}: expected a list of tables, not {kind}", hint=hint)
    passes = tuple(_read_pass(table, f"{where}[{i}]") for i, table in enumerate(tables))
    try:
        check_order(passes)
    except ToolError as error:
        raise error.prefixed(where) from None
    return passes


def _read_pass(table: object, where: str) -> Pass:
    known = {kind.name: kind for kind in PASSES}
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise fail(
            "missing-key",
            f"{where}: expected a table with the key 'name', the name of a pass, not {str(table)[:80]!r}",
            hint=known_names("", known),
        )
    name = table["name"]
    if name not in known:
        raise fail("unknown-pass", f"{where}: unknown pass {name!r}", hint=known_names(name, known))
    options = {key: value for key, value in table.items() if key != "name"}
    return from_plain(known[name], options, f"{where} {name}")


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    context: Context,
    on_step: Callable[[Pass, Graph], None] = lambda step, graph: None,
) -> Graph:
    """Return what the passes make of `graph`, verified after each; `on_step` gets each pass and its result.

    While the graph has only floats, the passes' result becomes the `reference` for those that follow. What is known to
    be wrong beforehand, raises ToolError before anything runs: `pass-order`, and what `Pass.check` finds.
    """
    check_order(passes, weights_of(graph))
    for step in passes:
        step.check(graph)
    for step in passes:
        graph = verify(step.run(graph, context))
        if not has_codes(graph):
            context = replace(context, reference=graph)
        on_step(step, graph)
    return graph
