"""The weights of a Plan that the host writes, and an accelerator that writes its own, for simulation."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitkiln.ir import Plan
from bitkiln.ir.units import COLUMN_BITS, MatrixVector

from .protocol import CHUNK_BYTES
from .units import loaded_contents
from .weight_set import WeightSet

_COLUMN_BYTES = COLUMN_BITS // 8


def weights_of(plan: Plan) -> WeightSet:
    """Return what the host writes, in the order of the stages; nothing if the bitstream holds all weights."""
    columns = [column for stage in plan.stages for part in loaded_contents(stage.unit) for column in part.columns()]
    data = b"".join(column.to_bytes(_COLUMN_BYTES, "little") for column in columns)
    return WeightSet(data + bytes(-len(data) % CHUNK_BYTES))


def has_loaded_weights(plan: Plan) -> bool:
    """True if the host must write weights before the first image."""
    return any(isinstance(stage.unit, MatrixVector) and stage.unit.storage.is_loaded for stage in plan.stages)


def weight_banks(plan: Plan) -> int:
    """Return how many sets of weights there is room for."""
    return max((stage.unit.banks for stage in plan.stages if isinstance(stage.unit, MatrixVector)), default=1)


class SelfLoading(wiring.Component):
    """An accelerator that takes its first image when it has loaded `weights` into `bank`, 16 bits a cycle.

    Only in simulation: so the streams of any simulator see what a host would have prepared.
    """

    def __init__(self, accelerator: wiring.Component, weights: WeightSet, bank: int) -> None:
        self._accelerator, self._weights, self._bank = accelerator, weights, bank
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(len(accelerator.i.payload)))),
                "o": Out(stream.Signature(unsigned(len(accelerator.o.payload)))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m, data = Module(), self._weights.data
        columns = [int.from_bytes(data[n : n + _COLUMN_BYTES], "little") for n in range(0, len(data), _COLUMN_BYTES)]
        m.submodules.accelerator = accelerator = self._accelerator
        m.submodules.weights = memory = Memory(shape=COLUMN_BITS, depth=len(columns), init=columns)
        port, left = memory.read_port(domain="sync"), Signal(range(len(columns) + 2), init=len(columns) + 1)
        is_ready = left == 0
        m.d.sync += left.eq(Mux(is_ready, 0, left - 1))
        m.d.comb += [
            port.addr.eq(len(columns) + 1 - left),
            accelerator.load.start.eq(left == len(columns) + 1),
            accelerator.load.valid.eq((left != len(columns) + 1) & ~is_ready),
            accelerator.load.data.eq(port.data),
            accelerator.load.target.eq(self._bank),
            accelerator.load.active.eq(self._bank),
            accelerator.i.payload.eq(self.i.payload),
            accelerator.i.valid.eq(self.i.valid & is_ready),
            self.i.ready.eq(accelerator.i.ready & is_ready),
        ]
        wiring.connect(m, accelerator.o, wiring.flipped(self.o))
        return m
