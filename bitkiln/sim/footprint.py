"""What a network takes before and after compression, side by side: bytes in every format, products, cycles.

Smaller files are no faster by themselves, so the bytes stand beside the work: products without a zero factor, and the
cycles of an engine that skips zeros.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from bitkiln.ir import Bipolar, Codebook, Const, Graph, encode_with_records
from bitkiln.ir.coding import Format, Mask, Record, best_run_length, stored
from bitkiln.ir.ops import Decode, SharedWeights

from .accelerator import find_accelerator
from .graph_workload import workload_of
from .observed import with_activations
from .simulate import simulate
from .technologies import find_technology

ENGINE = "zero-skip"
"""The accelerator whose cycles are given: it takes every network, and zeros cost it little."""

WORK_RULE = (
    "MACs executed: those without a zero factor; padding is zero. Cycles: of the accelerator "
    f"{ENGINE}, which skips the others, for one image."
)

COLUMNS = ("tensor", "type", "elements", "non-zero", "dense", "CSR", "CSC", "bitmap", "relative", "stored", "as")


@dataclass(frozen=True)
class TensorFootprint:
    """One constant. All sizes are bytes; but for `stored_bytes`, its record in the container, without entropy coding.

    `relative_bytes` are those of the best gap width, `gap_bits`. Compressed rows and columns are those of the matrix
    with a row an output.
    """

    name: str
    type: str
    elements: int
    nonzeros: int
    dense_bytes: int
    csr_bytes: int
    csc_bytes: int
    bitmap_bytes: int
    relative_bytes: int
    gap_bits: int
    stored_bytes: int
    encoding: str

    @property
    def cells(self) -> tuple[str | int, ...]:
        """What the row of a table shows, by COLUMNS."""
        relative = f"{self.relative_bytes:,} ({self.gap_bits} bit)"
        sizes = (self.dense_bytes, self.csr_bytes, self.csc_bytes, self.bitmap_bytes)
        return (self.name, self.type, self.elements, self.nonzeros, *sizes, relative, self.stored_bytes, self.encoding)


@dataclass(frozen=True)
class Footprint:
    """A whole network. `stored_bytes` is the size of its container, `other_bytes` of these are no tensor's: the graph's
    text, header, check sum. `macs` and `executed_macs` are for one image, `cycles` by WORK_RULE; None if nothing
    multiplies.
    """

    tensors: tuple[TensorFootprint, ...]
    params: int
    stored_bytes: int
    other_bytes: int
    macs: int
    executed_macs: int | None
    cycles: int | None

    @classmethod
    def of(cls, graph: Graph, samples: Tensor | None = None) -> Footprint:
        """Measure a network; with `samples` the first one says which activations are zero, else none are."""
        content, records = encode_with_records(graph)
        zero_codes = _codes_that_are_zero(graph)
        tensors = tuple(_tensor(const, records[const.name], zero_codes.get(const.name, True)) for const in graph.consts)
        executed, cycles = _work(graph, samples)
        other = len(content) - sum(tensor.stored_bytes for tensor in tensors)
        return cls(tensors, graph.params, len(content), other, graph.total_macs, executed, cycles)

    def to_plain(self) -> dict[str, object]:
        """Dicts and lists for JSON."""
        return asdict(self)


def side_by_side(before: Footprint, after: Footprint) -> list[tuple[str, str, str, str]]:
    """Return rows of a table: what it is, before, after, how many times less."""
    rows = (
        ("dense bytes", 4 * before.params, 4 * before.params),
        ("stored bytes", before.stored_bytes, after.stored_bytes),
        ("MACs", before.macs, after.macs),
        ("MACs executed", before.executed_macs, after.executed_macs),
        ("cycles", before.cycles, after.cycles),
    )
    return [(name, _count(one), _count(other), _ratio(one, other)) for name, one, other in rows]


def _count(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _ratio(before: int | None, after: int | None) -> str:
    return f"{before / after:.2f}x" if before and after else ""


def _work(graph: Graph, samples: Tensor | None) -> tuple[int | None, int | None]:
    if not graph.total_macs:
        return None, None
    workload = workload_of(graph)
    if samples is not None:
        workload = with_activations(workload, graph, samples)
    accelerator = find_accelerator(ENGINE)
    found = simulate(workload, accelerator, find_technology(accelerator.technology))
    return found.counts.macs, found.cycles


def _codes_that_are_zero(graph: Graph) -> dict[str, bool]:
    """For the indices of shared weights: whether index 0 means the value 0."""
    return {
        node.args[0]: isinstance(node.op, Decode) and node.op.has_zero
        for node in graph.nodes
        if isinstance(node.op, SharedWeights)
    }


def _tensor(const: Const, record: Record, has_zero: bool) -> TensorFootprint:
    number, bits = const.type.number, const.type.number.bits
    data = const.data.detach().numpy()
    is_index = isinstance(number, Bipolar) or (isinstance(number, Codebook) and not has_zero)
    mask: Mask = np.ones(data.shape, bool) if is_index else np.asarray(data != 0)
    rows = mask.reshape(mask.shape[0] if mask.ndim else 1, -1)
    gap_bits, relative = best_run_length(rows, bits)
    return TensorFootprint(
        name=const.name,
        type=str(const.type),
        elements=const.type.elements,
        nonzeros=int(np.count_nonzero(mask)),
        dense_bytes=stored(rows, bits, Format.DENSE).bytes,
        csr_bytes=stored(rows, bits, Format.COMPRESSED_COLUMNS).bytes,
        csc_bytes=stored(rows.T, bits, Format.COMPRESSED_COLUMNS).bytes,
        bitmap_bytes=stored(rows, bits, Format.BITMAP).bytes,
        relative_bytes=relative.bytes,
        gap_bits=gap_bits,
        stored_bytes=sum(map(len, record.parts)),
        encoding=f"{record.encoding.value}, {record.form.name.lower().replace('_', ', ')}",
    )
