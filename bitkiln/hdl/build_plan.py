"""A Plan to a bitstream: its accelerator behind the host link, built for a board."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from amaranth.back import rtlil

from bitkiln.boards import Board, Family
from bitkiln.ir import Plan
from bitkiln.ir.units import MatrixVector, Multiplier, Unit

from .accelerator import Accelerator
from .board_top import CONSTRAINTS, board_bundle
from .build import BuildResult, build_bundle, synthesise_bundle
from .bundle import Bundle
from .patch import PatchRecord, build_renewable, patched
from .protocol import Identity, stream_formats
from .weights import weight_banks, weights_of


def plan_digest(plan: Plan) -> bytes:
    """Return the SHA-256 of the accelerator's RTLIL, by which the chip says what it is.

    Weights that the host loads are not part of it.
    """
    text = rtlil.convert(Accelerator(plan), name="top", emit_src=False)
    return hashlib.sha256(text.encode()).digest()


def plan_identity(plan: Plan, clock_hz: int) -> Identity:
    """Return what the chip, whose clock is `clock_hz`, will say of itself."""
    load_bytes = len(weights_of(plan).data)
    return Identity(*stream_formats(plan), clock_hz, plan_digest(plan), load_bytes, weight_banks(plan))


def build_plan(
    plan: Plan,
    board: Board,
    *,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    use_dsp: bool = True,
    must_meet_clock: bool = True,
) -> BuildResult:
    """Build the plan for `board`; see `bitkiln.hdl.build.build` for the cache and what is raised.

    On iCE40 the bitstream of a renewable plan takes other weights by `patch_plan`: it has a `record`.
    """
    design, accelerator = _designed(plan, board, use_dsp)
    build = build_renewable if _is_patchable(accelerator, board) else build_bundle
    return build(
        design,
        board,
        cache=cache,
        on_step=on_step,
        use_dsp=use_dsp,
        must_meet_clock=must_meet_clock,
    )


def netlist_of_plan(
    plan: Plan, board: Board, *, cache: Path | None = None, on_step: Callable[[str], None] = lambda step: None
) -> bytes:
    """Return the netlist that `build_plan` places and routes; raises like `synthesise_bundle`.

    A patchable design is built whole: its netlist is that of other weights, into which its own are put.
    """
    design, accelerator = _designed(plan, board)
    if _is_patchable(accelerator, board):
        return build_plan(plan, board, cache=cache, on_step=on_step, must_meet_clock=False).netlist
    return synthesise_bundle(design, board, cache=cache, on_step=on_step)


def _is_patchable(accelerator: Accelerator, board: Board) -> bool:
    return accelerator.is_renewable and board.family is Family.ICE40


def _designed(plan: Plan, board: Board, use_dsp: bool = True) -> tuple[Bundle, Accelerator]:
    """Return the whole design for the board, and the accelerator in it."""
    board.platform()  # if amaranth-boards is missing, that is to be known before anything is designed
    accelerator = _accelerator(plan, board, use_dsp)
    return board_bundle(accelerator, plan_identity(plan, board.clock_hz), board), accelerator


def _accelerator(plan: Plan, board: Board, use_dsp: bool) -> Accelerator:
    """Return the accelerator for the board's clock, which need not be the plan's."""
    return Accelerator(replace(plan if use_dsp else without_named_blocks(plan), clock_hz=float(board.clock_hz)))


def patch_plan(plan: Plan, board: Board, old: bytes, record: PatchRecord) -> tuple[bytes, PatchRecord]:
    """Return the bitstream `old` with the weights of `plan`, and its record; raises like `patched`."""
    accelerator = _accelerator(plan, board, record.use_dsp)
    return patched(old, record, board_bundle(accelerator, plan_identity(plan, board.clock_hz), board), board)


def without_named_blocks(plan: Plan) -> Plan:
    """Return a plan that computes and takes the same, without the multiplier blocks that its RTL names itself."""
    return replace(plan, stages=tuple(replace(stage, unit=_without_named(stage.unit)) for stage in plan.stages))


def _without_named(unit: Unit) -> Unit:
    if isinstance(unit, MatrixVector) and unit.packing and not unit.packing.is_shared:
        return replace(unit, multiplier=Multiplier.DSP, packing=None)
    return unit


def constraints_of(plan: Plan, board: Board) -> str:
    """Return the pins of the design as nextpnr reads them."""
    bundle = board_bundle(Accelerator(plan), plan_identity(plan, board.clock_hz), board)
    return bundle[CONSTRAINTS[board.family]].decode()
