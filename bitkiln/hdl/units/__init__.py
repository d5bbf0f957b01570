"""Amaranth components of the units of `bitkiln.ir.units`, one for one."""

from bitkiln.ir import Stream
from bitkiln.ir.units import (
    AddStreams,
    ArgMaxStream,
    Fork,
    MatrixVector,
    Pool,
    RescaleStream,
    Resize,
    ThresholdStream,
    Unit,
    Window,
)

from ._parts import UnitComponent
from ._queue import Queue
from .matrix_vector import MatrixVectorRtl
from .plumbing import ForkRtl, ResizeRtl
from .pointwise import AddStreamsRtl, ArgMaxStreamRtl, PoolRtl, RescaleStreamRtl
from .thresholds import ThresholdStreamRtl
from .window import WindowRtl


def unit_component(unit: Unit, outputs: tuple[Stream, ...]) -> UnitComponent:  # one case a unit
    """Return the component of `unit`, whose output queues are those of `outputs`."""
    match unit:
        case MatrixVector():
            return MatrixVectorRtl(unit, outputs)
        case Window():
            return WindowRtl(unit, outputs)
        case Pool():
            return PoolRtl(unit, outputs)
        case AddStreams():
            return AddStreamsRtl(unit, outputs)
        case RescaleStream():
            return RescaleStreamRtl(unit, outputs)
        case ThresholdStream():
            return ThresholdStreamRtl(unit, outputs)
        case ArgMaxStream():
            return ArgMaxStreamRtl(unit, outputs)
        case Resize():
            return ResizeRtl(unit, outputs)
        case Fork():
            return ForkRtl(unit, outputs)
        case _:
            raise AssertionError(f"no RTL for {unit.kind}")


__all__ = ["Queue", "UnitComponent", "unit_component"]
