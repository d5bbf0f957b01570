"""How a container codes the constants: by default as small as it can, else as a format to compare with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bitkiln.ir import Graph, fail
from bitkiln.ir.coding import MAX_GAP_BITS, MIN_GAP_BITS, Packing

from ._base import Context, Keeps, Pass, Weights


@dataclass(frozen=True)
class Code(Pass):
    """The last pass of a recipe: relative indices with gaps of `gap_bits` (None: each tensor's best), and Huffman codes
    for elements and gaps or plain ones. What is smaller dense stays dense.

    >>> Code(gap_bits=5, huffman=False).keeps
    <Keeps.BITS: 'bits'>
    """

    name: ClassVar[str] = "code"
    keeps: ClassVar[Keeps] = Keeps.BITS
    makes: ClassVar[Weights | None] = Weights.CODED
    gap_bits: int | None = None
    huffman: bool = True

    def __post_init__(self) -> None:
        if self.gap_bits is not None and not MIN_GAP_BITS <= self.gap_bits <= MAX_GAP_BITS:
            message = f"gap_bits must be between {MIN_GAP_BITS} and {MAX_GAP_BITS}, not {self.gap_bits}"
            raise fail("number-range", message)

    def run(self, graph: Graph, context: Context) -> Graph:
        return replace(graph, packing=Packing(self.gap_bits, self.huffman))
