"""Which function models which engine; adding one is its dataclass in `accelerator.py`, its module and a line here."""

from __future__ import annotations

from typing import assert_never

from ._tiles import NOTHING_STAYS, Residence
from .accelerator import Accelerator, Eie, RowStationary, Streaming, Systolic, Vector, Xnor, ZeroSkip
from .eie import eie
from .engine import LayerRun, unmappable
from .row_stationary import row_stationary
from .systolic import systolic
from .tiling import LEAST_TRAFFIC, Tuning
from .vector import vector
from .workload import Layer
from .xnor import xnor
from .zero_skip import zero_skip


def run_layer(
    layer: Layer, accelerator: Accelerator, tuning: Tuning = LEAST_TRAFFIC, resident: Residence = NOTHING_STAYS
) -> LayerRun:
    """Return what `layer` costs on the engine of `accelerator`. Raises `unmappable-layer` and `sram-too-small`."""
    match accelerator.engine:
        case Systolic() as engine:
            return systolic(layer, engine, accelerator, tuning, resident)
        case Vector() as engine:
            return vector(layer, engine, accelerator, tuning, resident)
        case Eie() as engine:
            return eie(layer, engine, accelerator, resident)
        case Xnor() as engine:
            return xnor(layer, engine, accelerator, tuning, resident)
        case RowStationary() as engine:
            return row_stationary(layer, engine, accelerator, tuning)
        case ZeroSkip() as engine:
            return zero_skip(layer, engine, accelerator, tuning, resident)
        case Streaming():
            why = "it is generated for a quantised graph, and this is a layer on its own"
            raise unmappable(layer, accelerator, why, ("systolic", "vector", "row_stationary", "zero_skip"))
        case _:
            assert_never(accelerator.engine)
