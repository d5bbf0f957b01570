"""INQ: part of the weights becomes powers of two and never moves again, the rest is retrained, until none is left.

Partition, quantise, retrain (Zhou et al. 2017) are this pass and `tune`, in turns:

    [[passes]] name = "freeze_powers" portion = 0.5
    [[passes]] name = "tune"
    [[passes]] name = "freeze_powers" portion = 0.75
    ...
    [[passes]] name = "freeze_powers" portion = 1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir import Builder, Const, Graph, Node, ToolError, check_finite, fail
from bitkiln.ir.diagnostics import Diagnostic
from bitkiln.ir.ops import IncrementalWeight
from bitkiln.ir.ops.trained_uniform import MAX_LOG_BITS, incremental_powers, to_powers

from ._base import Context, Keeps, Pass, Weights
from ._methods import float_weight
from ._selection import check_layers, matches
from .fake_quantise import layers_of


@dataclass(frozen=True)
class FreezePowers(Pass):
    """Freeze the greatest weights of each layer, as 0 or a power of two, until `portion` of them are frozen.

    `bits` counts the sign and zero: 5 bits have 2**3 magnitudes, from the greatest that the first run finds. `exclude`
    names layers that are left alone. Frozen weights keep their value whatever trains afterwards.

    >>> FreezePowers(portion=0.5).bits
    5
    """

    name: ClassVar[str] = "freeze_powers"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS, Weights.LATENT})
    makes: ClassVar[Weights | None] = Weights.LATENT
    portion: float = 1.0
    bits: int = 5
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.portion <= 1:
            raise fail("number-range", f"portion must be above 0 and at most 1, not {self.portion:g}")
        if not 3 <= self.bits <= MAX_LOG_BITS + 1:
            raise fail("number-range", f"bits must be between 3 and {MAX_LOG_BITS + 1}, not {self.bits}")

    def check(self, graph: Graph) -> None:
        check_layers(graph, layers_of(graph), self.exclude)

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with more weights frozen; raises ToolError `unknown-layer`, `no-weights`, `not-finite`, and
        `cannot-freeze` where more than `portion` are frozen already or with other bits."""
        check_finite(graph)
        layers = layers_of(graph)
        check_layers(graph, layers, self.exclude)
        chosen = [node for node in layers if not any(matches(pattern, node) for pattern in self.exclude)]
        fresh = {const.name: const for node in chosen if (const := float_weight(graph, node)) is not None}
        again = {node.args[1] for node in chosen if isinstance(_op(graph, node.args[1]), IncrementalWeight)}
        if not fresh and not again:
            raise fail("no-weights", f"{graph.name} has no layer with weights to freeze")
        findings = [finding for name in sorted(again) if (finding := self._finding(graph, graph.node[name]))]
        if findings:
            raise ToolError(*findings)
        return self._rebuilt(graph, fresh, again)

    def _finding(self, graph: Graph, node: Node) -> Diagnostic | None:
        is_frozen = graph.const[node.args[2]].data
        part = float(is_frozen.mean())
        message = ""
        if part > self.portion:
            message = f"%{node.args[0]}: {part:.0%} of the weights are frozen already, more than {self.portion:.0%}"
        elif node.op != IncrementalWeight(self.bits):
            message = f"%{node.args[0]} was frozen with other bits than {self.bits}"
        hint = "let portion rise from pass to pass, with the same bits"
        return Diagnostic("cannot-freeze", message, node.loc, hint) if message else None

    def _rebuilt(self, graph: Graph, fresh: Mapping[str, Const], again: set[str]) -> Graph:
        build = Builder(graph.name)
        values = {value.name: build.input(value.name, value.type) for value in graph.inputs}
        changed = {
            name: data
            for node in (graph.node[name] for name in sorted(again))
            for name, data in zip(
                node.args[1:], self._frozen(*(graph.const[arg].data for arg in node.args)), strict=True
            )
        }
        for const in graph.consts:
            values[const.name] = build.constant(const.name, const.type, changed.get(const.name, const.data))
        done: set[str] = set()
        for node in graph.nodes:
            for arg in node.args:
                if arg in fresh and arg not in done:
                    done.add(arg)
                    values[arg] = self._incremental(build, fresh[arg], values[arg], node)
            values[node.name] = build.add(node.op, tuple(values[arg] for arg in node.args), node.name, node.loc)
        return build.graph([values[name] for name in graph.outputs])

    def _incremental(self, build: Builder, const: Const, value: str, node: Node) -> str:
        none = torch.zeros_like(const.data)
        frozen, is_frozen = self._frozen(const.data, none, none)
        parts = (("frozen", frozen), ("is_frozen", is_frozen))
        names = [build.constant(f"{const.name}.{what}", const.type, data) for what, data in parts]
        return build.add(IncrementalWeight(self.bits), (value, *names), f"{const.name}.powers", node.loc)

    def _frozen(self, weight: Tensor, frozen: Tensor, is_frozen: Tensor) -> tuple[Tensor, Tensor]:
        """Values and mask with the greatest of the free weights added, so that the portion is reached."""
        already = is_frozen != 0
        now = torch.where(already, frozen, weight.detach())
        count = round(self.portion * weight.numel())
        ranks = torch.where(already, torch.inf, weight.detach().abs()).reshape(-1).argsort(descending=True, stable=True)
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[ranks[:count]] = True
        mask = mask.reshape(weight.shape)
        reach = frozen if bool(already.any()) else weight.detach()
        smallest, largest = incremental_powers(reach, self.bits)
        powers = torch.where(already, frozen, to_powers(now, smallest, largest))
        return torch.where(mask, powers, 0.0), mask.to(weight.dtype)


def _op(graph: Graph, name: str) -> object:
    node = graph.node.get(name)
    return node.op if node is not None else None
