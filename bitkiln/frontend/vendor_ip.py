"""`bitkiln generate ip` and `bitkiln verify --level ip`: a Plan as a block for vendor tools."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from bitkiln.boards import Board, ProcessorSystem, find_any_board
from bitkiln.hdl.verification import RtlSimulator, VerifyOptions
from bitkiln.ir import Plan, fail, single_input, to_plain

from .commands import FALLS_SHORT, plan_from
from .datasets import check_shape, read_dataset
from .terminal import Terminal


def generate_ip_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """The block, its packaging script and, for a board, a Vivado project in a folder."""
    from bitkiln.hdl.ip.generate import generate_ip  # noqa: PLC0415  # the base install has no amaranth
    from bitkiln.hdl.ip.packets import Golden  # noqa: PLC0415

    board = find_any_board(arguments.board) if arguments.board else None
    if isinstance(board, Board):
        message = f"{board.name} is no board of Vivado's"
        raise fail("bad-arguments", message, hint=f"bitkiln build --board {board.name} makes its bitstream")
    plan = plan_from(arguments, board)
    golden = None
    if board and isinstance(board.host, ProcessorSystem):
        golden = Golden.of(plan, _samples(plan, arguments.data, arguments.images))
    elif arguments.data:
        raise fail(
            "bad-arguments", "--data is for the host program of a board with a processor", hint="--board pynq-z2"
        )
    bundle = generate_ip(plan, board, golden)
    folder = bundle.write(arguments.output, force=arguments.force)
    files = {name: len(bundle[name]) for name in bundle.paths}
    lines = [f"{folder / name}  {size:,} bytes" for name, size in files.items()]
    lines.append("generated, not run: bitkiln has no Vivado to run it with")
    terminal.result({"folder": str(folder), "files": files, "digest": bundle.digest(), "was_run": False}, *lines)
    return 0


def verify_ip_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """The block's AXI ports against golden model and prediction."""
    from bitkiln.hdl.ip.verify import verify_ip  # noqa: PLC0415

    if arguments.board:
        raise fail("bad-arguments", "the block is the same for every board", hint="leave --board out")
    if RtlSimulator(arguments.simulator) not in (RtlSimulator.COMPILED, RtlSimulator.COCOTB):
        message = f"the level ip runs under cocotb on Verilator, not on {arguments.simulator}"
        raise fail("bad-arguments", message, hint="leave --simulator out")
    options = VerifyOptions(arguments.images, RtlSimulator.COCOTB, not arguments.no_back_pressure, arguments.seed)
    plan, data = plan_from(arguments), read_dataset(arguments.data)
    check_shape(data, single_input(plan.graph).type.shape[1:])
    with terminal.step("verify"):
        samples = torch.from_numpy(data.test_x)
        found = verify_ip(plan, samples, options, on_step=lambda step: terminal.progress(step, 0))
    lines = (
        f"{found.images} images through the block's AXI ports: {found.mismatches} wrong packets or registers, "
        f"{found.cycle_mismatches} of its two counts of cycles not as predicted",
        f"latency {found.rtl_latency:,} (predicted {found.predicted_latency:,}), "
        f"interval {found.rtl_interval:,} (predicted {found.predicted_interval:,})",
    )
    terminal.result(to_plain(found), *lines, *([found.findings] if found.findings else []))
    return 0 if found.is_exact else FALLS_SHORT


def _samples(plan: Plan, data: str | None, images: int) -> Tensor:
    """Return the images of the host program: the first test samples, or random ones."""
    if images < 1:
        raise fail("bad-value", f"--images must be at least 1, not {images}")
    shape = single_input(plan.graph).type.shape[1:]
    if data is None:
        return torch.rand(images, *shape, generator=torch.Generator().manual_seed(0))
    dataset = read_dataset(data)
    check_shape(dataset, shape)
    return torch.from_numpy(dataset.test_x[:images])
