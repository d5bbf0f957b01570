"""A Plan to a bitstream: its accelerator behind the host link, built for a board."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bitkiln.boards import Board, Family
from bitkiln.ir import Plan

from .accelerator import Accelerator
from .board_top import CONSTRAINTS, board_bundle
from .build import BuildResult, build_bundle, synthesise_bundle
from .build_renewable import build_renewable
from .bundle import Bundle
from .plan_identity import built_plan, plan_identity, plan_renewal


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
    build = build_bundle
    if _is_patchable(accelerator, board):
        build = partial(build_renewable, plan_renewal(plan, board, use_dsp))
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
    accelerator = Accelerator(built_plan(plan, board, use_dsp))
    return board_bundle(accelerator, plan_identity(plan, board.clock_hz), board), accelerator


def constraints_of(plan: Plan, board: Board) -> str:
    """Return the pins of the design as nextpnr reads them."""
    bundle = board_bundle(Accelerator(plan), plan_identity(plan, board.clock_hz), board)
    return bundle[CONSTRAINTS[board.family]].decode()
