"""The weights that the host writes into an accelerator, and an accelerator that writes its own, for simulation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitkiln.ir import Plan
from bitkiln.ir.units import COLUMN_BITS, MatrixVector

from .units import loaded_contents

CHUNK_BYTES = 256


@dataclass(frozen=True)
class WeightSet:
    """What the host writes, 16 bits a cycle, in the order of the stages; a whole number of chunks of bytes."""

    data: bytes

    @classmethod
    def of(cls, plan: Plan) -> WeightSet:
        columns = [column for stage in plan.stages for part in loaded_contents(stage.unit) for column in part.columns()]
        data = b"".join(column.to_bytes(COLUMN_BITS // 8, "little") for column in columns)
        return cls(data + bytes(-len(data) % CHUNK_BYTES))

    @property
    def digest(self) -> bytes:
        """SHA-256, by which the host knows which weights a chip holds."""
        return hashlib.sha256(self.data).digest()

    @property
    def chunks(self) -> tuple[bytes, ...]:
        return tuple(self.data[start : start + CHUNK_BYTES] for start in range(0, len(self.data), CHUNK_BYTES))

    @property
    def columns(self) -> list[int]:
        """What the bus brings, cycle after cycle."""
        size = COLUMN_BITS // 8
        return [int.from_bytes(self.data[start : start + size], "little") for start in range(0, len(self.data), size)]


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
        m, columns = Module(), self._weights.columns
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
