"""What a chip says of itself, and what may be replaced in it: both from the RTLIL of the accelerator alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from amaranth.back import rtlil

from bitkiln.boards import Board
from bitkiln.ir import Plan
from bitkiln.ir.units import MatrixVector, Multiplier, Unit

from .accelerator import Accelerator
from .bundle import TOP
from .patch import PatchRecord, patched
from .protocol import Identity, stream_formats
from .renewal import Renewal
from .weights import weight_banks, weights_of


def plan_digest(plan: Plan) -> bytes:
    """Return the SHA-256 of the accelerator's RTLIL, by which the chip says what it is.

    Weights that the host loads are not part of it.
    """
    return hashlib.sha256(_rtlil(plan).encode()).digest()


def plan_identity(plan: Plan, clock_hz: int) -> Identity:
    """Return what the chip, whose clock is `clock_hz`, will say of itself."""
    return _identity(plan, clock_hz, plan_digest(plan))


def plan_renewal(plan: Plan, board: Board, use_dsp: bool) -> Renewal:
    """Return what may be replaced in the plan's design for the board, without making the rest of it."""
    built = built_plan(plan, board, use_dsp)
    text = _rtlil(built)
    named = text if built is plan else _rtlil(plan)
    identity = _identity(plan, board.clock_hz, hashlib.sha256(named.encode()).digest())
    return Renewal.of(text, identity, board)


def built_plan(plan: Plan, board: Board, use_dsp: bool) -> Plan:
    """Return the plan at the board's clock, with or without the multiplier blocks that its RTL names itself."""
    if use_dsp and plan.clock_hz == board.clock_hz:
        return plan
    return replace(plan if use_dsp else without_named_blocks(plan), clock_hz=float(board.clock_hz))


def patch_plan(plan: Plan, board: Board, old: bytes, record: PatchRecord) -> tuple[bytes, PatchRecord]:
    """Return the bitstream `old` with the weights of `plan`, and its record; raises like `patched`."""
    return patched(old, record, plan_renewal(plan, board, record.use_dsp), board)


def without_named_blocks(plan: Plan) -> Plan:
    """Return a plan that computes and takes the same, without the multiplier blocks that its RTL names itself."""
    return replace(plan, stages=tuple(replace(stage, unit=_without_named(stage.unit)) for stage in plan.stages))


def _without_named(unit: Unit) -> Unit:
    if isinstance(unit, MatrixVector) and unit.packing and not unit.packing.is_shared:
        return replace(unit, multiplier=Multiplier.DSP, packing=None)
    return unit


def _rtlil(plan: Plan) -> str:
    text: str = rtlil.convert(Accelerator(plan), name=TOP, emit_src=False)
    return text


def _identity(plan: Plan, clock_hz: int, digest: bytes) -> Identity:
    load_bytes = len(weights_of(plan).data)
    return Identity(*stream_formats(plan), clock_hz, digest, load_bytes, weight_banks(plan))
