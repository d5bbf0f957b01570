"""Which function writes the kernel of which unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bitkiln.ir import Diagnostic, Plan, Stage, ToolError
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

from ._kernel import Kernel, Ports
from .buffer_kernels import gather, window
from .matrix_kernels import matrix_vector, sparse_matrix_vector
from .stream_kernels import add, concat, fork, lookup, multiply, pool, requantise, resize, threshold, top_k

KERNELS: Mapping[type[Unit], Callable[[Any, Ports], Kernel]] = {
    MatrixVector: matrix_vector,
    SparseMatrixVector: sparse_matrix_vector,
    Window: window,
    Pool: pool,
    AddStreams: add,
    MultiplyStreams: multiply,
    RescaleStream: requantise,
    ThresholdStream: threshold,
    LookupStream: lookup,
    TopKStream: top_k,
    Gather: gather,
    ConcatStreams: concat,
    Resize: resize,
    Fork: fork,
}

MOST_BITS = 64
"""Elements are at most as wide as the widest integer of a plain compiler."""


def kernel_of(stage: Stage, ports: Ports) -> Kernel:
    """Return the kernel of a stage."""
    return KERNELS[type(stage.unit)](stage.unit, ports)


def check_kernels(plan: Plan) -> None:
    """Raise `no-kernel` with a finding for every stage that HLS C++ cannot be written for."""
    found = [
        Diagnostic("no-kernel", f"%{stage.node}: HLS has no kernel for a {stage.unit.kind} unit", stage.loc)
        for stage in plan.stages
        if type(stage.unit) not in KERNELS
    ]
    found += [
        Diagnostic(
            "no-kernel",
            f"%{stage.node}: elements of {beat.bits} bits; C simulation has integers of at most {MOST_BITS}",
            stage.loc,
        )
        for stage in plan.stages
        for beat in stage.unit.outputs
        if beat.bits > MOST_BITS
    ]
    if found:
        raise ToolError(*found)
