"""Amaranth components of the units of `bitkiln.ir.units`, one for one."""

from collections.abc import Callable, Mapping
from typing import Any

from bitkiln.ir import Stream
from bitkiln.ir.units import (
    AddStreams,
    ConcatStreams,
    Fork,
    Gather,
    LookupStream,
    MatrixVector,
    MultiplyStreams,
    Pool,
    RescaleStream,
    Resize,
    SparseMatrixVector,
    ThresholdStream,
    TopKStream,
    Unit,
    Window,
)

from ._constants import RENEWABLE_PREFIX
from ._contents import Contents, loaded_contents
from ._loaded import LOAD_BUS, MEMORY_PREFIX
from ._parts import UnitComponent
from ._queue import Queue
from .gather import ConcatStreamsRtl, GatherRtl
from .lookup import LookupStreamRtl, MultiplyStreamsRtl
from .matrix_vector import MatrixVectorRtl
from .plumbing import ForkRtl, ResizeRtl
from .pointwise import AddStreamsRtl, PoolRtl, RescaleStreamRtl, TopKStreamRtl
from .sparse import SparseMatrixVectorRtl
from .thresholds import ThresholdStreamRtl
from .window import WindowRtl

_COMPONENTS: Mapping[type[Unit], Callable[[Any, tuple[Stream, ...]], UnitComponent]] = {
    SparseMatrixVector: SparseMatrixVectorRtl,
    Window: WindowRtl,
    Pool: PoolRtl,
    AddStreams: AddStreamsRtl,
    MultiplyStreams: MultiplyStreamsRtl,
    RescaleStream: RescaleStreamRtl,
    ThresholdStream: ThresholdStreamRtl,
    LookupStream: LookupStreamRtl,
    TopKStream: TopKStreamRtl,
    Gather: GatherRtl,
    ConcatStreams: ConcatStreamsRtl,
    Resize: ResizeRtl,
    Fork: ForkRtl,
}


def unit_component(unit: Unit, outputs: tuple[Stream, ...], clock_hz: float) -> UnitComponent:
    """Return the component of `unit`, whose output queues are those of `outputs`, in the form that meets the clock."""
    if isinstance(unit, MatrixVector):
        return MatrixVectorRtl(unit, outputs, clock_hz)
    return _COMPONENTS[type(unit)](unit, outputs)


__all__ = [
    "LOAD_BUS",
    "MEMORY_PREFIX",
    "RENEWABLE_PREFIX",
    "Contents",
    "Queue",
    "UnitComponent",
    "loaded_contents",
    "unit_component",
]
