"""The files of the block and its projects: ports, scripts that a Tcl interpreter takes, a host program that works."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.boards import ARTY_A7_35T, KV260, PYNQ_Z2, VENDOR_BOARDS, Resources, VendorBoard
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.ip.generate import check_dma, component_name, generate_ip, ip_identity
from bitkiln.hdl.ip.packets import Golden
from bitkiln.hdl.ip.registers import IDENTITY_ADDRESS, MAGIC, MEANINGS, WORD_BYTES, Register
from bitkiln.hdl.protocol import DESIGN_DIGEST_AT, IDENTITY_BYTES, StreamFormat
from bitkiln.ir import Plan, ToolError, load_graph
from bitkiln.ir.units import Beat
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.hdl.tcl_blocks import IN, MASTER, SLAVE, Block
from tests.hdl.tcl_check import WrongTclError, check_tcl
from tests.hdl.tcl_commands import VIVADO
from tests.projects import Tiny

pytestmark = pytest.mark.tools("yosys")

OURS = {
    "bitkiln:user:bitkiln_model:1.0": Block(
        {"s_axis": SLAVE, "m_axis": MASTER, "s_axi": SLAVE},
        {"aclk": IN, "aresetn": IN},
        needed=("s_axis", "m_axis", "s_axi", "aclk", "aresetn"),
    )
}
PORT = r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+);$"
DONE = {"get_property": "100%"}
PYNQ = """\
import json
from pathlib import Path
from types import SimpleNamespace
import numpy as np

WORLD = json.loads(Path("world.json").read_text())
IMAGES, RESULTS = np.load("images.npy"), np.load("results.npy")


class Buffer(np.ndarray):
    def flush(self): pass
    def invalidate(self): pass


def allocate(shape, dtype):
    return np.zeros(shape, dtype).view(Buffer)


class Channel:
    idle = True


class Overlay:
    def __init__(self, bitstream):
        assert bitstream.endswith("bitkiln_model.bit"), bitstream
        registers = {int(address): value for address, value in WORLD["registers"].items()}
        self.accelerator = SimpleNamespace(read=registers.__getitem__, write=self.write)
        send, receive = Channel(), Channel()
        send.idle = not WORLD["is_stuck"]
        receive.transfer = lambda buffer: setattr(self, "into", buffer)
        send.transfer = self.answer
        self.dma = SimpleNamespace(sendchannel=send, recvchannel=receive)

    def write(self, address, value):
        assert (address, value) == (4, 1)

    def answer(self, image):
        number = next(i for i, given in enumerate(IMAGES) if np.array_equal(given, image))
        self.into[:] = RESULTS[number]
        if number == WORLD["wrong"]:
            self.into[0] ^= 1
"""


@pytest.fixture(scope="module")
def plan(tiny: Tiny) -> Plan:
    options = PlanOptions(max_multipliers=8, clock_mhz=100)
    return size_queues(schedule(load_graph(tiny.graph), options))


@pytest.fixture(scope="module")
def golden(plan: Plan) -> Golden:
    return Golden.of(plan, torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def bundles(plan: Plan, golden: Golden) -> dict[str, Bundle]:
    boards: tuple[VendorBoard | None, ...] = (None, *VENDOR_BOARDS)
    return {board.name if board else "": generate_ip(plan, board, golden) for board in boards}


def vivado_left(folder: Path, design: str = "bitkiln_model") -> None:
    """What Vivado would have made, where the scripts look for it."""
    for file in (
        f"{design}.runs/impl_1/system_wrapper.bit",
        f"{design}.runs/impl_1/top.bit",
        f"{design}.gen/sources_1/bd/system/hw_handoff/system.hwh",
    ):
        (folder / "project" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / file).write_text("made by nobody")


def test_the_ports_have_their_axi_names(bundles: dict[str, Bundle]) -> None:
    verilog = bundles[""]["bitkiln_model.v"].decode()
    top = verilog[verilog.index("module bitkiln_model(") :].partition("endmodule")[0]
    widths = {name: int(high or 0) + 1 for high, name in re.findall(PORT, top, re.MULTILINE)}
    streams = {f"{side}_axis_{name}" for side in "sm" for name in ("tdata", "tvalid", "tready", "tlast")}
    channels = {
        "aw": ("addr", "prot", "valid", "ready"),
        "w": ("data", "strb", "valid", "ready"),
        "b": ("resp", "valid", "ready"),
        "ar": ("addr", "prot", "valid", "ready"),
        "r": ("data", "resp", "valid", "ready"),
    }
    lite = {f"s_axi_{channel}{name}" for channel, found in channels.items() for name in found}
    assert set(widths) == {"aclk", "aresetn"} | streams | lite
    assert (widths["s_axis_tdata"], widths["m_axis_tdata"], widths["s_axi_rdata"]) == (8, 16, 32)


def test_the_same_plan_gives_the_same_bytes(plan: Plan, golden: Golden, bundles: dict[str, Bundle]) -> None:
    assert generate_ip(plan, PYNQ_Z2, golden) == bundles["pynq-z2"]


def test_the_files(bundles: dict[str, Bundle]) -> None:
    block = ("README.md", "bitkiln_model.v", "package_ip.tcl", "plan.json")
    processor = (*block, "host.py", "images.npy", "project.tcl", "results.npy")
    assert bundles[""].paths == block
    assert bundles["pynq-z2"].paths == bundles["kv260"].paths == tuple(sorted(processor))
    assert bundles["arty-a7-35t"].paths == (*block, "project.tcl", "top.v", "top.xdc")
    for bundle in bundles.values():
        assert "Vivado was not run" in bundle["README.md"].decode()


@pytest.mark.parametrize("board", ["", *(board.name for board in VENDOR_BOARDS)])
def test_the_packaging_script_calls_what_there_is(board: str, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    folder = bundles[board].write(tmp_path / "ip")
    calls = check_tcl(folder / "package_ip.tcl", VIVADO)
    part = {"": "xc7z020clg400-1", **{board.name: board.part for board in VENDOR_BOARDS}}[board]
    assert ("create_project", "-force", "-part", part, "packaging", f"{folder}/packaging") in calls
    associated = [call[1:] for call in calls if call[0] == "ipx::associate_bus_interfaces"]
    core = "ipx::current_core"
    assert associated == [
        *(("-busif", interface, "-clock", "aclk", core) for interface in ("s_axis", "m_axis", "s_axi")),
        ("-clock", "aclk", "-reset", "aresetn", core),
    ]


@pytest.mark.parametrize("board", VENDOR_BOARDS, ids=lambda board: board.name)
def test_the_project_script_calls_what_there_is(board: VendorBoard, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    folder = bundles[board.name].write(tmp_path / "ip")
    vivado_left(folder)
    calls = check_tcl(folder / "project.tcl", VIVADO, OURS, DONE)
    names = [call[0] for call in calls]
    assert names.count("launch_runs") == 1
    assert (folder / "bitkiln_model.bit").read_text() == "made by nobody"
    if board is not ARTY_A7_35T:
        assert names.index("validate_bd_design") < names.index("launch_runs")
        assert (folder / "bitkiln_model.hwh").is_file()


def test_the_constraints_name_ports_of_the_top_level(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    folder = bundles["arty-a7-35t"].write(tmp_path / "ip")
    calls = check_tcl(folder / "top.xdc", VIVADO)
    assert ("create_clock", "-name", "clk", "-period", "10", "clk") in calls
    ports = {name for call in calls if call[0] == "get_ports" for name in call[1].split()}
    top = (folder / "top.v").read_text()
    declared = re.search(r"^module top\(([^)]*)\);", top, re.MULTILINE)
    assert declared is not None
    assert ports == set(declared.group(1).split(", ")) == {"clk", "rst_n", "rx", "tx"}


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("-taxonomy", "-taxnomy", r"ipx::package_project: no option -taxnomy"),
        ("set core [ipx::current_core]", "set kore [ipx::current_core]", r'can\'t read "core": no such variable'),
        ("bitkiln_model.v", "bitkiln_modell.v", r"add_files: no such file: .*/bitkiln_modell\.v"),
    ],
)
def test_a_wrong_packaging_script_is_found(
    right: str, wrong: str, message: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = bundles[""].write(tmp_path / "ip")
    script = folder / "package_ip.tcl"
    assert right in script.read_text()
    script.write_text(script.read_text().replace(right, wrong))
    with pytest.raises(WrongTclError, match=message):
        check_tcl(script, VIVADO)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("accelerator/s_axis", "accelerator/s_axis_x", "accelerator has no interface s_axis_x"),
        ("    dma/M_AXIS_MM2S accelerator/s_axis\n", "", "left open: dma/M_AXIS_MM2S, accelerator/s_axis"),
        ("CONFIG.c_include_sg", "CONFIG.c_include_gs", r"dma has no parameter CONFIG\.c_include_gs"),
        ("impl_1 -to_step", "impl_1 -to_stop", "launch_runs: no option -to_stop"),
    ],
)
def test_a_wrong_block_design_is_found(
    right: str, wrong: str, message: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = bundles["kv260"].write(tmp_path / "ip")
    vivado_left(folder)
    script = folder / "project.tcl"
    assert right in script.read_text()
    script.write_text(script.read_text().replace(right, wrong))
    with pytest.raises(WrongTclError, match=message):
        check_tcl(script, VIVADO, OURS, DONE)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"get_board_parts": ""}, "Vivado does not know the board tul.com.tw:pynq-z2:part0:1.0"),
        ({"get_property": "37%"}, "the implementation failed: see"),
    ],
)
def test_the_project_script_stops_when_vivado_fails(
    results: dict[str, str], message: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = bundles["pynq-z2"].write(tmp_path / "ip")
    with pytest.raises(WrongTclError, match=message):
        check_tcl(folder / "project.tcl", VIVADO, OURS, results)


@pytest.mark.parametrize(
    ("change", "code", "output"),
    [
        ({}, 0, "4 images, 0 not as the golden model"),
        ({"wrong": 2}, 1, "4 images, 1 not as the golden model"),
        ({"digest": 1}, 2, "the chip holds the design"),
        ({"magic": 0}, 2, "the block does not answer as one of bitkiln: 0x00000000"),
        ({"is_stuck": True}, 2, "the image did not end within 0.05 s; STATUS is 0x0"),
    ],
    ids=["right", "wrong result", "other design", "no block", "stuck"],
)
def test_the_host_program(
    change: dict[str, int], code: int, output: str, plan: Plan, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    """With a stand-in for PYNQ and the board; the real ones were not there."""
    folder = bundles["pynq-z2"].write(tmp_path / "ip")
    encoded = bytearray(ip_identity(plan).encode())
    encoded[DESIGN_DIGEST_AT] ^= change.get("digest", 0)
    registers = {int(register): 0 for register in Register} | {int(Register.MAGIC): change.get("magic", MAGIC)}
    for start in range(0, len(encoded), WORD_BYTES):
        registers[IDENTITY_ADDRESS + start] = int.from_bytes(encoded[start : start + WORD_BYTES], "little")
    world = {"registers": registers, "wrong": change.get("wrong", -1), "is_stuck": change.get("is_stuck", False)}
    (folder / "world.json").write_text(json.dumps(world))
    (folder / "pynq.py").write_text(PYNQ)
    script = folder / "host.py"
    script.write_text(script.read_text().replace("PATIENCE_S = 5.0", "PATIENCE_S = 0.05"))
    done = subprocess.run((sys.executable, "host.py"), cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, output in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_images_and_results_are_what_the_dma_moves(bundles: dict[str, Bundle]) -> None:
    images, results = (np.load(io.BytesIO(bundles["kv260"][name])) for name in ("images.npy", "results.npy"))
    assert (images.shape, images.dtype) == ((4, 64), np.uint8)
    assert (results.shape, results.dtype) == ((4, 20), np.uint8)


def test_every_register_is_documented() -> None:
    assert [meaning.register for meaning in MEANINGS] == list(Register)
    page = (Path(__file__).parents[3] / "docs" / "vendor_ip.md").read_text("utf-8")
    rows = [f"| {item.register:#04x} | {item.register.name} | {item.access} | {item.what} |" for item in MEANINGS]
    assert [row for row in rows if row not in page] == []
    assert f"| {IDENTITY_ADDRESS:#04x} | identity | r | the {IDENTITY_BYTES} bytes of" in page


def test_the_block_is_named_after_the_graph(plan: Plan) -> None:
    odd = replace(plan, graph=replace(plan.graph, name="3-bit.net"))
    assert component_name(odd) == "bitkiln_3_bit_net"


@pytest.mark.parametrize(
    ("board", "clock_mhz", "message"),
    [
        (
            ARTY_A7_35T,
            50,
            "error[bad-value]: --clock-mhz is 50, but arty-a7-35t runs at 100\n  help: leave --clock-mhz out",
        ),
        (
            KV260,
            400,
            "error[bad-value]: the clock of kv260 is between 1 and 300 MHz, not 400\n  help: --clock-mhz",
        ),
        (
            replace(PYNQ_Z2, resources=Resources(), distributed_bits=3_000),
            100,
            "error[does-not-fit]: the design does not fit on PYNQ-Z2 (Zynq XC7Z020): its weights take 3,168 bits and "
            "its queues {queues} but all memories together have 3,000\n"
            "  help: fewer weights, or fewer bits for each (prune, quantise, share)",
        ),
    ],
    ids=["fixed clock", "too fast", "too small"],
)
def test_what_a_board_cannot_do(board: VendorBoard, clock_mhz: int, message: str, plan: Plan, golden: Golden) -> None:
    with pytest.raises(ToolError) as caught:
        generate_ip(replace(plan, clock_hz=clock_mhz * 1e6), board, golden)
    assert re.sub(r"its queues [\d,]+,", "its queues {queues}", str(caught.value)) == message


def test_a_beat_wider_than_a_dma(plan: Plan) -> None:
    wide = replace(ip_identity(plan), input=StreamFormat(Beat(lanes=200, bits=8, signed=False), 1))
    with pytest.raises(ToolError) as caught:
        check_dma(wide)
    assert str(caught.value) == (
        "error[too-wide]: a beat of the input has 1600 bits, but an AXI DMA's stream 1024\n"
        "  help: lower SIMD of the first layer or PE of the last; or leave --board out and connect the block yourself"
    )
