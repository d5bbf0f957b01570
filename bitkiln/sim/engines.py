"""Which function models which engine; adding one is its dataclass in `accelerator.py`, its module and a line here."""

from __future__ import annotations

from typing import assert_never

from .accelerator import Accelerator, Eie, RowStationary, Streaming, Systolic, Vector, Xnor, ZeroSkip
from .engine import LayerRun, unmappable
from .systolic import systolic
from .workload import Layer


def run_layer(layer: Layer, accelerator: Accelerator) -> LayerRun:
    """Return what `layer` costs on the engine of `accelerator`. Raises `unmappable-layer` and `sram-too-small`."""
    match accelerator.engine:
        case Systolic() as engine:
            return systolic(layer, engine, accelerator)
        case Vector() | RowStationary() | Eie() | ZeroSkip() | Xnor() | Streaming():
            raise unmappable(layer, accelerator, "it has no engine for single layers", ("systolic",))
        case _:
            assert_never(accelerator.engine)
