"""The block of a Plan as files: Verilog, the Tcl that packages it, and a Vivado project for a board. Nothing is run."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import bitkiln
from bitkiln.boards import ProcessorSystem, SerialTop, VendorBoard
from bitkiln.boards.baud import cycles_per_bit
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.generate import plan_json
from bitkiln.hdl.plan_identity import plan_identity
from bitkiln.hdl.protocol import DESIGN_DIGEST_AT, IDENTITY_BYTES, Identity
from bitkiln.hdl.rendering import rendered
from bitkiln.hdl.verilog import to_verilog
from bitkiln.hdl.weights import has_loaded_weights
from bitkiln.ir import Plan, fail

from .core import IpCore
from .framing import tdata_bytes
from .packets import Golden, packets_of
from .registers import IDENTITY_ADDRESS, MAGIC, Register
from .serial_top import TOP, SerialAccelerator

VENDOR, LIBRARY, VERSION = "bitkiln", "user", "1.0"
_DEFAULT_PART = "xc7z020clg400-1"  # for the packager's own project; the block is for any part
_WIDEST_DMA_BITS = 1024
_NARROWEST_MEMORY_BITS = 32

Files = dict[str, bytes]


@dataclass(frozen=True)
class File:
    """What the README says of a file."""

    name: str
    what: str


def component_name(plan: Plan) -> str:
    """Return the name of the block's module: that of the graph, as far as it is an identifier."""
    return "bitkiln_" + re.sub(r"\W", "_", plan.graph.name, flags=re.ASCII)


def ip_identity(plan: Plan) -> Identity:
    """Return what the block says of itself; its clock is the Plan's. Raises `loaded-weights`."""
    if has_loaded_weights(plan):
        message = "the block has no port for weights that the host loads"
        raise fail("loaded-weights", message, hint="generate it from a plan whose weights are in the design")
    return plan_identity(plan, round(plan.clock_hz))


def generate_ip(plan: Plan, board: VendorBoard | None = None, golden: Golden | None = None) -> Bundle:
    """Return the block's files; with `board` also a project for it and, with a processor, a host program.

    `golden` are images and results for the host program; a board with a processor needs it. The same plan gives the
    same bytes. Raises ToolError `missing-tool`, `does-not-fit`, `bad-value`, `too-wide`, `loaded-weights`.
    """
    identity, name = ip_identity(plan), component_name(plan)
    if board:
        _check_fits(plan, board)
        _check_clock(plan, board)
    match board.host if board else None:
        case ProcessorSystem() as system:
            assert board and golden
            check_dma(identity)
            extra, listed = _processor_project(name, identity, board, system, golden)
        case SerialTop() as serial:
            assert board
            extra, listed = _serial_project(plan, identity, board, serial)
        case None:
            extra, listed = {}, ()
    verilog = to_verilog(IpCore(Accelerator(plan), identity).rtlil(name))
    files = {
        f"{name}.v": verilog,
        "package_ip.tcl": _packaging(plan, name, identity, board),
        "plan.json": plan_json(plan),
    }
    own = (
        File(f"{name}.v", "the block: AXI4-Stream in and out, AXI4-Lite registers"),
        File("package_ip.tcl", "packages it for Vivado's catalogue: vivado -mode batch -source package_ip.tcl"),
        File("plan.json", "units, streams, and which element of the network is which of a stream"),
    )
    readme = rendered(
        "vivado/README.md.j2",
        {
            "component": name,
            "description": _description(plan, identity),
            "bitkiln_version": bitkiln.__version__,
            "files": [(file.name, file.what) for file in (*own, *listed)],
        },
    )
    return Bundle.of(files | extra | {"README.md": readme.encode()})


def _description(plan: Plan, identity: Identity) -> str:
    return (
        f"{plan.graph.name}: {identity.input.beats} beats of {identity.input.beat} in, {identity.output.beats} of "
        f"{identity.output.beat} out, design {identity.design_digest.hex()[:16]}"
    )


def _packaging(plan: Plan, name: str, identity: Identity, board: VendorBoard | None) -> bytes:
    values = {
        "component": name,
        "part": board.part if board else _DEFAULT_PART,
        "vendor": VENDOR,
        "library": LIBRARY,
        "version": VERSION,
        # Another design has another revision, so that Vivado sees that it must be upgraded.
        "revision": int.from_bytes(identity.design_digest[:3], "big"),
        "display_name": plan.graph.name,
        "description": _description(plan, identity),
    }
    return rendered("vivado/package_ip.tcl.j2", values).encode()


def _processor_project(
    name: str, identity: Identity, board: VendorBoard, system: ProcessorSystem, golden: Golden
) -> tuple[Files, tuple[File, ...]]:
    bits = [8 * tdata_bytes(stream.beat.width) for stream in (identity.input, identity.output)]
    memory_bits = [max(_NARROWEST_MEMORY_BITS, width) for width in bits]
    values = {
        "design": name,
        "title": board.title,
        "part": board.part,
        "board_part": board.board_part,
        "system": system,
        "clock_mhz": f"{identity.clock_hz / 1e6:g}",
        "input_bits": bits[0],
        "read_bits": memory_bits[0],
        "write_bits": memory_bits[1],
        "vlnv": f"{VENDOR}:{LIBRARY}:{name}:{VERSION}",
    }
    host = {
        "design": name,
        "title": board.title,
        "digest": identity.design_digest.hex(),
        "clock_hz": identity.clock_hz,
        "registers": [(register.name, f"{register.value:#04x}") for register in Register],
        "magic": f"{MAGIC:#010x}",
        "identity_address": f"{IDENTITY_ADDRESS:#04x}",
        "identity_bytes": IDENTITY_BYTES,
        "digest_at": DESIGN_DIGEST_AT,
    }
    images = packets_of(golden.images, identity.input)
    results = packets_of(golden.results, identity.output)
    files = {
        "project.tcl": rendered("vivado/processor_project.tcl.j2", values).encode(),
        "host.py": rendered("vivado/host.py.j2", host).encode(),
        "images.npy": _npy(images),
        "results.npy": _npy(results),
    }
    listed = (
        File("project.tcl", f"the design for {board.title}: processor, DMA, block; makes {name}.bit and {name}.hwh"),
        File("host.py", "runs on the board with PYNQ: streams the images and compares the results"),
        File("images.npy, results.npy", f"{len(images)} images as the DMA sends them, and what the golden model gives"),
    )
    return files, listed


def _serial_project(
    plan: Plan, identity: Identity, board: VendorBoard, serial: SerialTop
) -> tuple[Files, tuple[File, ...]]:
    bit_cycles = cycles_per_bit(identity.clock_hz, serial.baud)
    top = SerialAccelerator(Accelerator(plan), identity, bit_cycles)
    values = {
        "design": component_name(plan),
        "top": TOP,
        "title": board.title,
        "part": board.part,
        "pins": (("clk", serial.clock), ("rst_n", serial.reset_n), ("rx", serial.rx), ("tx", serial.tx)),
        "standard": serial.standard,
        "period_ns": f"{1e9 / identity.clock_hz:g}",
        "bit_cycles": bit_cycles,
    }
    files = {
        f"{TOP}.v": to_verilog(top.rtlil()),
        f"{TOP}.xdc": rendered("vivado/serial_top.xdc.j2", values).encode(),
        "project.tcl": rendered("vivado/serial_project.tcl.j2", values).encode(),
    }
    listed = (
        File(
            f"{TOP}.v, {TOP}.xdc",
            "the accelerator behind bitkiln's serial link (`bitkiln infer`), and the board's pins",
        ),
        File("project.tcl", f"the project for {board.title}; makes {values['design']}.bit"),
    )
    return files, listed


def _npy(array: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _check_fits(plan: Plan, board: VendorBoard) -> None:
    """Refuse what cannot fit whatever the tool does: memories larger than all of the device's."""
    weights = sum(getattr(stage.unit, "weight_memory_bits", 0) for stage in plan.stages)
    queues = sum(stream.depth * stream.beat.width for stream in plan.streams if stream.is_memory)
    if weights + queues > board.memory_bits:
        message = (
            f"the design does not fit on {board.title}: its weights take {weights:,} bits and its queues {queues:,}, "
            f"but all memories together have {board.memory_bits:,}"
        )
        raise fail("does-not-fit", message, hint="fewer weights, or fewer bits for each (prune, quantise, share)")


def _check_clock(plan: Plan, board: VendorBoard) -> None:
    if board.max_clock_hz == 0 and plan.clock_hz != board.clock_hz:
        message = f"--clock-mhz is {plan.clock_hz / 1e6:g}, but {board.name} runs at {board.clock_hz / 1e6:g}"
        raise fail("bad-value", message, hint="leave --clock-mhz out")
    if board.max_clock_hz and not 1e6 <= plan.clock_hz <= board.max_clock_hz:
        message = f"the clock of {board.name} is between 1 and {board.max_clock_hz / 1e6:g} MHz"
        raise fail("bad-value", f"{message}, not {plan.clock_hz / 1e6:g}", hint="--clock-mhz")


def check_dma(identity: Identity) -> None:
    """Raise `too-wide` if a beat is wider than the streams of AMD's AXI DMA can be."""
    for side, stream in (("input", identity.input), ("output", identity.output)):
        if 8 * tdata_bytes(stream.beat.width) > _WIDEST_DMA_BITS:
            message = f"a beat of the {side} has {stream.beat.width} bits, but an AXI DMA's stream {_WIDEST_DMA_BITS}"
            hint = (
                "lower SIMD of the first layer or PE of the last; or leave --board out and connect the block yourself"
            )
            raise fail("too-wide", message, hint=hint)
