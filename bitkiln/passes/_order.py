"""Whether passes can follow each other, known before the first one runs: training may take hours."""

from __future__ import annotations

from collections.abc import Sequence

from bitkiln.ir import Diagnostic, Graph, ToolError
from bitkiln.ir.ops import SharedWeights

from ._base import Pass, Weights
from ._quantisable import has_codes


def check_order(passes: Sequence[Pass], weights: Weights | None = None) -> None:
    """Raise ToolError `pass-order` with a finding for each pass that cannot work on what those before it leave.

    `weights` is what the first pass gets; None: not known yet, so it is taken to be what the pass works on.
    """
    findings: list[Diagnostic] = []
    maker = ""
    for step in passes:
        if weights is not None and weights not in step.takes:
            came = f"{maker} makes them {weights.value}" if maker else f"they are {weights.value}"
            wanted = " or ".join(kind.value for kind in Weights if kind in step.takes)
            hint = f"put {step.name} before {maker}" if maker != step.name else f"leave the second {step.name} out"
            message = f"{step.name} works on weights that are {wanted}, but {came}"
            findings.append(Diagnostic("pass-order", message, hint=hint if maker else f"leave {step.name} out"))
        elif step.makes is not None:
            weights, maker = step.makes, step.name
    if findings:
        raise ToolError(*findings)


def weights_of(graph: Graph) -> Weights:
    """Return what a graph's weights are."""
    if any(isinstance(node.op, SharedWeights) for node in graph.nodes):
        return Weights.SHARED
    if has_codes(graph):
        return Weights.CODES
    is_latent = any(node.op.trained[:1] == (0,) and node.args[0] in graph.const for node in graph.nodes)
    return Weights.LATENT if is_latent else Weights.FLOATS
