"""What `bitkiln flash` and `bitkiln infer` do: a bitstream into a board, and images through it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from bitkiln.boards import Board, SerialTop, VendorBoard, find_any_board, find_board
from bitkiln.boards.clocks import board_at
from bitkiln.hdl.verification import Level
from bitkiln.ir import Plan, fail, single_input, to_plain
from bitkiln.passes import top_node

from .commands import FALLS_SHORT, plan_from
from .datasets import check_shape, read_dataset
from .pipeline import GRAPH, Pipeline
from .project import load_project
from .terminal import Terminal, table

if TYPE_CHECKING:
    from bitkiln.hdl.host import Device

DEFAULT_BAUD = 1_000_000
_MOST_BYTES = 1 << 30


def flash_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """A bitstream into a board."""
    from bitkiln.hdl.flash import flash  # noqa: PLC0415  # the base install has no amaranth

    board = find_board(arguments.board)
    with terminal.step(f"flash {board.title}"):
        tool = flash(arguments.bitstream, board, is_volatile=arguments.volatile)
    plain = {"bitstream": str(arguments.bitstream), "board": board.name, "tool": tool}
    terminal.result(plain, f"{arguments.bitstream} is in {board.title}, written by {tool}")
    return 0


def infer_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Images through a flashed board; with a graph, against its golden model."""
    from bitkiln.hdl.host import Device  # noqa: PLC0415
    from bitkiln.hdl.serial_port import SerialPort  # noqa: PLC0415

    if arguments.timeout <= 0:
        raise fail("bad-value", f"--timeout must be more than 0 seconds, not {arguments.timeout:g}")
    images, plan = _images(arguments.images), _plan(arguments)
    with SerialPort(arguments.port, _baud(arguments)) as port, terminal.step("infer"):
        device = Device(port, timeout_s=arguments.timeout)
        if plan is None:
            return _infer_codes(device, images, terminal)
        return _infer_plan(device, plan, images, terminal)


def verify_below_rtl(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """What the tools made of the RTL, down to the bits of the bitstream, against golden model and prediction."""
    from bitkiln.hdl.verify_level import verify_built  # noqa: PLC0415

    level = Level.BITSTREAM if arguments.bitstream else Level(arguments.level)
    if not arguments.board:
        raise fail("bad-arguments", f"the level {level.value} is of a board", hint="--board; see `bitkiln list boards`")
    board = find_board(arguments.board)
    board = board if arguments.clock is None else board_at(board, arguments.clock)
    if arguments.images < 1:
        raise fail("bad-value", f"--images must be at least 1, not {arguments.images}")
    plan, data = plan_from(arguments, board), read_dataset(arguments.data)
    check_shape(data, single_input(plan.graph).type.shape[1:])
    bitstream = arguments.bitstream.read_bytes() if arguments.bitstream else None
    with terminal.step("verify"):
        found = verify_built(
            plan,
            torch.from_numpy(data.test_x),
            board,
            level,
            arguments.images,
            bitstream=bitstream,
            on_step=lambda step: terminal.progress(step, 0),
        )
    lines = (
        f"{found.images} images on the {level.value} for {board.title}: {found.mismatches} wrong beats",
        f"latency {found.rtl_latency:,} (predicted {found.predicted_latency:,}), another one for "
        f"{found.cycle_mismatches} images",
    )
    terminal.result(to_plain(found), *lines, *([found.findings] if found.findings else []))
    return 0 if found.is_exact else FALLS_SHORT


def _infer_codes(device: Device, images: npt.NDArray[np.generic], terminal: Terminal) -> int:
    elements = device.identify().input.elements
    if not np.issubdtype(images.dtype, np.integer) or images.size == 0 or images.size % elements:
        came = f"{images.dtype} of shape {list(images.shape)}"
        message = f"without --graph, images are integer codes, {elements} for each image, not {came}"
        raise fail("wrong-image", message, hint="--graph names the graph file that the bitstream was built from")
    found = [device.infer(image) for image in images.reshape(-1, elements).tolist()]
    plain = [{"codes": list(one.codes), "latency_cycles": one.latency_cycles} for one in found]
    rows = [(index, " ".join(map(str, one.codes)), one.latency_cycles) for index, one in enumerate(found)]
    terminal.result(plain, table("", ("image", "codes", "cycles"), rows))
    return 0


def _infer_plan(device: Device, plan: Plan, images: npt.NDArray[np.generic], terminal: Terminal) -> int:
    from bitkiln.hdl.remote import infer_plan  # noqa: PLC0415

    samples = torch.from_numpy(_samples(images, single_input(plan.graph).type.shape[1:]))
    found = infer_plan(device, plan, samples, lambda done: terminal.progress("infer", done / len(samples)))
    names_classes = top_node(plan.graph) is not None
    plain = [
        {
            "values": values.tolist(),
            "largest": int(values[0] if names_classes else values.argmax()),
            "is_golden": bool((codes == golden).all()),
            "latency_cycles": latency,
        }
        for values, codes, golden, latency in zip(
            found.values, found.codes, found.golden, found.latency_cycles, strict=True
        )
    ]
    rows = [
        (i, row["largest"], row["latency_cycles"], "yes" if row["is_golden"] else "NO") for i, row in enumerate(plain)
    ]
    shown = table("", ("image", "largest output", "cycles", "as the golden model"), rows)
    terminal.result(plain, shown, f"{len(plain)} images, {found.mismatches} not as the golden model")
    return FALLS_SHORT if found.mismatches else 0


def _images(file: Path) -> npt.NDArray[np.generic]:
    hint = "write it with numpy.save: one image, or several along the first axis"
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise fail("wrong-image", f"{file} has more than {_MOST_BYTES} bytes", hint="give fewer images at a time")
        loaded = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise fail("missing-file", f"{file} is no file", hint=hint) from None
    except (ValueError, EOFError, OSError) as error:
        raise fail("wrong-image", f"{file} is no .npy file: {error}", hint=hint) from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "buif":
        raise fail("wrong-image", f"{file} holds no array of numbers", hint=hint)
    return loaded


def _samples(images: npt.NDArray[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return images as [n, *shape]."""
    batch = images[None] if images.shape == shape else images
    if batch.shape[1:] != shape or not len(batch):
        message = f"an image has shape {list(shape)}, or several have [n, {', '.join(map(str, shape))}]"
        raise fail("wrong-image", f"{message}, not {list(images.shape)}")
    samples = batch.astype(np.float32)
    if not np.isfinite(samples).all():
        raise fail("wrong-image", "an image has elements that are no finite numbers")
    return samples


def _plan(arguments: argparse.Namespace) -> Plan | None:
    if arguments.project is None:
        board = _serial_board(arguments.board)[0] if arguments.board else None
        return plan_from(arguments, board) if arguments.graph else None
    if arguments.graph:
        raise fail("bad-arguments", "--graph and --project say the same", hint="leave one out")
    project = load_project(arguments.project)
    if not (project.output / GRAPH).is_file():
        message = f"{project.output / GRAPH} is missing"
        raise fail("missing-file", message, hint=f"bitkiln run {arguments.project}")
    return Pipeline(project).plan


def _baud(arguments: argparse.Namespace) -> int:
    if arguments.baud:
        return int(arguments.baud)
    if arguments.board:
        return _serial_board(arguments.board)[1]
    board = load_project(arguments.project).board if arguments.project else None
    return board.baud if board else DEFAULT_BAUD


def _serial_board(name: str) -> tuple[Board | VendorBoard, int]:
    """Return a board with bitkiln's serial link and its baud rate. Raises `unknown-board`, `vendor-board`."""
    board = find_any_board(name)
    if isinstance(board, VendorBoard) and isinstance(board.host, SerialTop):
        return board, board.host.baud
    found = find_board(name)
    return found, found.baud
