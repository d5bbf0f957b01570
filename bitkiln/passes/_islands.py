"""Float functions between codes: what stands between a dequantise and the next quantiser, as a table or a product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitkiln.ir import Graph, Int, Node, exact_dtype
from bitkiln.ir.ops import (
    Add,
    Clip,
    Dequantise,
    Div,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Mul,
    MultiThreshold,
    Power,
    Quantise,
    QuantiseScaled,
    Relu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from bitkiln.ir.units import MOST_TABLE_BITS, Beat, LookupStream, MultiplyStreams, Rescale, Unit

from ._layers import Folding, Format, Layer, lanes_foldings

QUANTISERS = (Quantise, QuantiseScaled, MultiThreshold)
FUNCTIONS = (
    *(Add, Mul, Div, Clip, Relu, Sigmoid, Tanh, Silu, HardSigmoid, HardSwish, Gelu, LeakyRelu),
    *(Elu, Softplus, Mish, Power),
)
"""Operations on floats that treat each element alike."""

MOST_PRODUCT_BITS = 24
"""The golden model multiplies in 32-bit floats, which hold so many bits exactly."""


@dataclass(frozen=True, eq=False)
class LookupLayer(Layer):
    channels: int
    input: Format
    table: tuple[int, ...]

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.channels)

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes = folding.simd
        output = self.place.output.beat(lanes)
        return (("", LookupStream(self.place.elements // lanes, self.input.beat(lanes), output, self.table)),)


@dataclass(frozen=True, eq=False)
class MultiplyLayer(Layer):
    channels: int
    inputs: tuple[Format, Format]
    rescale: Rescale

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.channels)

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def multipliers(self, folding: Folding) -> int:
        return folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes = folding.simd
        a, b = (element.beat(lanes) for element in self.inputs)
        return (("", MultiplyStreams(self.place.elements // lanes, a, b, self.rescale)),)


@dataclass(frozen=True)
class Island:
    """The float nodes in front of a quantiser, in order, and the values of codes that they begin with."""

    quantiser: Node
    nodes: tuple[Node, ...]
    sources: tuple[str, ...]
    stranger: Node | None
    """A node that no table can take in, if there is one."""

    @property
    def is_product(self) -> bool:
        """True if two values of codes are multiplied and nothing else happens."""
        operations = [node for node in self.nodes if not isinstance(node.op, Dequantise)]
        is_mul = len(operations) == 1 and isinstance(operations[0].op, Mul)
        return is_mul and len(self.sources) == 2 and isinstance(self.quantiser.op, Quantise)

    def obstacle(self, graph: Graph) -> str:
        """Why the island is no function of one element of its only source; empty if it is."""
        if len(self.sources) != 1:
            return f"it is a function of {len(self.sources)} values, not of one (only products of two have a unit)"
        for node in (*self.nodes, self.quantiser):
            if node.type.shape != self.quantiser.type.shape or not _is_uniform(graph, node):
                return f"%{node.name} ({node.op.name}) does not treat every element alike"
        number = graph.types[self.sources[0]].number
        assert isinstance(number, Int)
        if number.bits > MOST_TABLE_BITS:
            return f"a table takes codes of at most {MOST_TABLE_BITS} bits, not {number.bits}"
        return ""

    def table(self, graph: Graph, source: Beat) -> tuple[int, ...]:
        """Return the result's code for every element, by its bits as an unsigned number."""
        dtype = exact_dtype(graph)
        codes = torch.tensor([[source.code(field) for field in range(1 << source.bits)]], dtype=dtype)
        values: dict[str, Tensor] = {self.sources[0]: codes}
        for node in (*self.nodes, self.quantiser):
            args = (values[arg] if arg in values else graph.const[arg].data.to(dtype) for arg in node.args)
            values[node.name] = node.op.evaluate(*args)
        return tuple(int(code) for code in values[self.quantiser.name][0].tolist())


def _is_uniform(graph: Graph, node: Node) -> bool:
    constants = [graph.types[arg] for arg in node.args if arg in graph.const]
    match node.op:
        case MultiThreshold(base=base, step=step):
            return len(base) == len(step) == 1 and constants[0].shape[0] == 1
        case QuantiseScaled():
            return len(node.op.scale) == 1 and len(node.op.zero_point) == 1
        case Dequantise():
            return len(node.op.frac) == 1
        case _:
            return all(type_.elements == 1 for type_ in constants)


def find_island(graph: Graph, quantiser: Node) -> Island:
    """Walk back from a quantiser of floats to the codes that they come from."""
    found: dict[str, Node] = {}
    sources: list[str] = []
    strangers: list[Node] = []

    def visit(name: str) -> None:
        node = graph.node.get(name)
        if node is None or name in found:
            return
        if isinstance(node.op, Dequantise):
            sources.append(node.args[0])
        elif isinstance(node.op, FUNCTIONS):
            for arg in node.args:
                visit(arg)
        else:
            strangers.append(node)
        found[name] = node

    visit(quantiser.args[0])
    stranger = strangers[0] if strangers else None
    return Island(quantiser, tuple(found.values()), tuple(dict.fromkeys(sources)), stranger)


def product_rescale(graph: Graph, island: Island) -> Rescale | None:
    """How the product of the island's two values becomes codes, or None if it is too wide to be exact."""
    op = island.quantiser.op
    assert isinstance(op, Quantise)
    numbers = [graph.types[name].number for name in island.sources]
    points, bits = 0, 0
    for number in numbers:
        assert isinstance(number, Int)
        points, bits = points + number.fracs[0], bits + number.bits
    if bits > MOST_PRODUCT_BITS:
        return None
    return Rescale(op.number.bits, op.number.signed, op.number.lo, op.number.hi, points - op.number.fracs[0])
