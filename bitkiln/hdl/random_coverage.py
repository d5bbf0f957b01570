"""What a Plan makes use of, by name: kinds of units, every choice that a unit has, foldings, depths of queues."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum

from bitkiln.ir import Graph, Node, Plan
from bitkiln.ir.ops import Conv2d, MaxPool2d, Requantise, SumPool2d
from bitkiln.ir.units import (
    UNITS,
    Fork,
    Gather,
    MatrixVector,
    Packing,
    Pool,
    Products,
    Resize,
    SparseMatrixVector,
    TopKStream,
    Unit,
    Window,
)

from .random_network import RandomNetwork

UnitTest = Callable[[Unit], bool]
PlanTest = Callable[[Plan], bool]


def _matrix(holds: Callable[[MatrixVector], bool]) -> UnitTest:
    return lambda unit: isinstance(unit, MatrixVector) and holds(unit)


def _made_by(products: Products) -> UnitTest:
    return _matrix(lambda unit: unit.products is products)


def _packed(holds: Callable[[Packing], bool]) -> UnitTest:
    return _matrix(lambda unit: unit.packing is not None and holds(unit.packing))


def _sparse(holds: Callable[[SparseMatrixVector], bool]) -> UnitTest:
    return lambda unit: isinstance(unit, SparseMatrixVector) and holds(unit)


def _is_larger(graph: Graph, node: Node) -> bool:
    """True for a pool whose map is larger than it were without ceil mode."""
    if not isinstance(node.op, MaxPool2d | SumPool2d):
        return False
    return replace(node.op, ceil_mode=False).infer(*graph.arg_types(node)).shape != node.type.shape


def _window(holds: Callable[[Window], bool]) -> UnitTest:
    return lambda unit: isinstance(unit, Window) and holds(unit)


_UNIT_FEATURES: dict[str, UnitTest] = {
    **{f"matrix_vector: products {products.value}": _made_by(products) for products in Products},
    "matrix_vector: exact sums": _matrix(lambda unit: not unit.shift and unit.thresholds is None),
    "matrix_vector: requantised": _matrix(lambda unit: bool(unit.shift)),
    "matrix_vector: a shift a row": _matrix(lambda unit: len(set(unit.shift)) > 1),
    "matrix_vector: signs": _matrix(lambda unit: unit.output_bipolar),
    "matrix_vector: several thresholds": _matrix(
        lambda unit: unit.thresholds is not None and unit.thresholds.count > 1
    ),
    "matrix_vector: groups": _matrix(lambda unit: unit.groups > 1 and unit.rows > 1),
    "matrix_vector: depthwise": _matrix(lambda unit: unit.groups > 1 and unit.rows == 1),
    "matrix_vector: channels at a time": _matrix(lambda unit: unit.lanewise),
    "matrix_vector: several vectors": _matrix(lambda unit: unit.vectors > 1),
    "matrix_vector: folded rows and columns": _matrix(lambda unit: unit.row_folds > 1 and unit.column_folds > 1),
    "matrix_vector: all at once": _matrix(lambda unit: unit.row_folds == unit.column_folds == 1),
    "matrix_vector: packed, products with one input": _packed(lambda packing: packing.is_shared),
    "matrix_vector: packed, products that overlap": _packed(lambda packing: packing.overlap > 0),
    "matrix_vector: packed, more than two products": _packed(lambda packing: packing.products > 2),
    "matrix_vector: packed, products of their own": _packed(lambda packing: not packing.is_shared),
    "matrix_vector: renewable": _matrix(lambda unit: unit.renewable),
    "matrix_vector: two sets of weights": _matrix(lambda unit: unit.banks > 1),
    "sparse: several elements": _sparse(lambda unit: unit.dense.pe > 1),
    "sparse: several inputs a beat": _sparse(lambda unit: unit.dense.simd > 1),
    "sparse: codebook": _sparse(lambda unit: unit.index_bits < unit.dense.weight_bits),
    "sparse: inputs of 0 skipped": _sparse(lambda unit: unit.skip_zeros),
    "sparse: several vectors": _sparse(lambda unit: unit.dense.vectors > 1),
    "sparse: thresholds": _sparse(lambda unit: unit.dense.thresholds is not None),
    "window: padding": _window(lambda unit: unit.padding != (0, 0)),
    "window: stride": _window(lambda unit: max(unit.stride) > 1),
    "window: dilation": _window(lambda unit: max(unit.dilation) > 1),
    "window: not square": _window(lambda unit: unit.kernel[0] != unit.kernel[1]),
    "window: groups": _window(lambda unit: unit.groups > 1),
    "window: signs": _window(lambda unit: unit.bipolar),
    "window: signs that are padded with 0": _window(lambda unit: unit.widens),
    "pool: signs": lambda unit: isinstance(unit, Pool) and unit.bipolar,
    "pool: rescaled": lambda unit: isinstance(unit, Pool) and unit.rescale is not None,
    "top_k: several": lambda unit: isinstance(unit, TopKStream) and unit.k > 1,
    "gather: zeros": lambda unit: isinstance(unit, Gather) and unit.has_zeros,
    "resize: to wider beats": lambda unit: isinstance(unit, Resize) and unit.lanes_out > unit.lanes_in,
    "resize: to narrower beats": lambda unit: isinstance(unit, Resize) and unit.lanes_out < unit.lanes_in,
    "fork: three ways": lambda unit: isinstance(unit, Fork) and unit.ways > 2,
}

_PLAN_FEATURES: dict[str, PlanTest] = {
    "graph: ceil-mode pool": lambda plan: any(_is_larger(plan.graph, node) for node in plan.graph.nodes),
    "graph: uneven padding": lambda plan: any(
        isinstance(node.op, Conv2d) and any(before != after for before, after in node.op.padding)
        for node in plan.graph.nodes
    ),
    "graph: bias": lambda plan: any(isinstance(node.op, Conv2d) and len(node.args) == 3 for node in plan.graph.nodes),
    "graph: requantise with a factor": lambda plan: any(
        isinstance(node.op, Requantise) and node.op.multiplier > 1 for node in plan.graph.nodes
    ),
    "queue: registers": lambda plan: any(not stream.is_memory for stream in plan.streams),
    "queue: memory": lambda plan: any(stream.is_memory for stream in plan.streams),
}


def _choices(unit: type) -> Iterator[tuple[str, type[Enum]]]:
    """The fields of a unit that hold a choice."""
    for name, type_ in typing.get_type_hints(unit).items():
        if isinstance(type_, type) and issubclass(type_, Enum):
            yield name, type_


BY_HAND = "plan: folded by hand"
OTHER_DEPTHS = "plan: queues of other depths"

FEATURES: tuple[str, ...] = (
    *(unit.kind for unit in UNITS),
    *(f"{unit.kind}: {name} {member.value}" for unit in UNITS for name, choice in _choices(unit) for member in choice),
    *_UNIT_FEATURES,
    *_PLAN_FEATURES,
    BY_HAND,
    OTHER_DEPTHS,
)
"""All that a set of random networks should make use of."""


def features(network: RandomNetwork, plan: Plan) -> frozenset[str]:
    """Return what the network's plan makes use of."""
    units = [stage.unit for stage in plan.stages]
    found = {unit.kind for unit in units}
    for unit in units:
        assert is_dataclass(unit)
        values = ((item.name, getattr(unit, item.name)) for item in fields(unit))
        found |= {f"{unit.kind}: {name} {value.value}" for name, value in values if isinstance(value, Enum)}
    found |= {name for name, holds in _UNIT_FEATURES.items() if any(map(holds, units))}
    found |= {name for name, holds in _PLAN_FEATURES.items() if holds(plan)}
    found |= {name for name, seed in ((BY_HAND, network.folding), (OTHER_DEPTHS, network.queues)) if seed}
    return frozenset(found)


def coverage(found: Iterable[frozenset[str]]) -> dict[str, int]:
    """Return in how many networks each feature occurs, those that occur in none included."""
    counts = Counter(feature for one in found for feature in one)
    return {feature: counts[feature] for feature in FEATURES}
