"""Builds with tools that the tests play, for every decision; and with the real ones to real bitstreams."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import stat
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth_boards", reason="the Python package amaranth_boards is not installed")

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bitkiln.boards import BOARDS, ICEBREAKER, TANG_NANO_9K, ULX3S_85F, Board, Family, Resources
from bitkiln.hdl.build import BuildResult, build, build_bundle, default_cache
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.toolchain import Tool, ToolResult
from bitkiln.ir import ToolError
from tests.hdl.byte_adder import adder_identity

BEATS = 8
SEED = 20240229
DESIGN = Bundle.of({"top.il": b"module \\top\nend\n", "top.pcf": b""})
OTHER = Bundle.of({"weights.hex": b"00"})
TOOL = """#!/usr/bin/env python3
import json, pathlib, sys
if "--version" in sys.argv:
    print({name!r}, {version!r})
    sys.exit()
with open({log!r}, "a") as log:
    print({name!r}, *sys.argv[1:], file=log)
"""
YOSYS = """
cells = {cells}["no_dsp" in sys.argv[-1]]
pathlib.Path("netlist.v").write_bytes(b"cells")
pathlib.Path("stat.json").write_text(json.dumps({{"design": {{"num_cells_by_type": cells}}}}))
"""
NEXTPNR = """
print({printed!r})
report = {{"fmax": {{"clk": {{"achieved": {fmax}}}}}, "utilization": {bels}}}
pathlib.Path("report.json").write_text(json.dumps(report))
pathlib.Path("top.asc").write_bytes(b"wires")
sys.exit({code})
"""
ICEPACK = """
pathlib.Path("top.bin").write_bytes(b"bits")
"""
SMALL = {"SB_LUT4": 100, "SB_DFF": 20, "SB_DFFESR": 30, "SB_RAM40_4K": 2, "SB_MAC16": 1}
BELS = {"ICESTORM_LC": {"used": 120}, "ICESTORM_RAM": {"used": 2}, "ICESTORM_DSP": {"used": 1}}


ECP5S = ", ".join(board.name for board in BOARDS if board.family is Family.ECP5)
TANGS = "tang-nano-9k, tang-nano-20k"


class PlayedTools:
    """yosys, nextpnr and icepack as scripts that say what the test wants; `calls` lists how they were run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.cache = folder / "cache"
        self.yosys([SMALL, SMALL])
        self.nextpnr()
        self._write("ICEPACK", ICEPACK)

    def yosys(self, cells: list[dict[str, int]], version: str = "1.0") -> None:
        """Set the cells of the netlist with and without DSPs."""
        self._write("YOSYS", YOSYS.format(cells=cells), version)

    def nextpnr(self, *, fmax: float = 48.517, printed: str = "", code: int = 0) -> None:
        self._write("NEXTPNR_ICE40", NEXTPNR.format(printed=printed, fmax=fmax, bels=BELS, code=code))

    def build(self, design: Bundle = DESIGN) -> BuildResult:
        return build_bundle(design, ICEBREAKER, cache=self.cache)

    def error(self) -> str:
        """Build a design that cannot be built, and return what the user sees."""
        with pytest.raises(ToolError) as caught:
            self.build()
        return str(caught.value)

    @property
    def calls(self) -> list[str]:
        log = self._folder / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def steps(self) -> list[str]:
        return [call.split()[0] for call in self.calls]

    @property
    def entry(self) -> Path:
        """The only finished build."""
        (entry,) = (self.cache / "builds").iterdir()
        return entry

    def _write(self, name: str, body: str, version: str = "1.0") -> None:
        # A new name each time: the version of a command is asked for once.
        file = self._folder / f"{name}-{len(list(self._folder.iterdir()))}"
        head = TOOL.format(name=name, version=version, log=str(self._folder / "calls.log"))
        file.write_text(head + body)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        self._monkeypatch.setenv(name, str(file))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedTools:
    return PlayedTools(tmp_path, monkeypatch)


def test_the_tools_run_in_order_on_relative_names(tools: PlayedTools) -> None:
    steps: list[str] = []
    result = build_bundle(DESIGN, ICEBREAKER, cache=tools.cache, on_step=steps.append)
    assert tools.calls == [
        "YOSYS -q -s synthesis.ys",
        "NEXTPNR_ICE40 --up5k --package sg48 --seed 1 --timing-allow-fail --report report.json --json top.json "
        "--pcf top.pcf --asc top.asc",
        "ICEPACK top.asc top.bin",
    ]
    assert steps == ["synthesis", "place and route", "pack"]
    assert result == BuildResult(
        bitstream=b"bits",
        file_name="top.bin",
        netlist=b"cells",
        routed=b"wires",
        used=Resources(lut=120, ff=50, bram=2, dsp=1),
        available=ICEBREAKER.resources,
        fmax_mhz=48.52,
        clock_mhz=12.0,
        design_digest=DESIGN.digest(),
        tool_versions=result.tool_versions,
        is_cached=False,
    )


def test_a_second_build_is_taken_from_the_cache(tools: PlayedTools) -> None:
    first = tools.build()
    second = tools.build()
    assert tools.steps == ["YOSYS", "NEXTPNR_ICE40", "ICEPACK"]
    assert (first.is_cached, second.is_cached) == (False, True)
    assert second == BuildResult(**{**vars(first), "is_cached": True})
    assert sorted(file.name for file in tools.entry.iterdir()) == [
        *("build.json", "bundle.sha256", "netlist.v", "top.asc", "top.bin"),
    ]
    assert json.loads((tools.entry / "build.json").read_text()) == {
        "fmax_mhz": 48.52,
        "used": {"bram": 2, "dsp": 1, "ff": 50, "lut": 120, "spram": 0},
    }


def test_another_design_or_version_is_another_build(tools: PlayedTools) -> None:
    tools.build()
    tools.build(DESIGN.merged(Bundle.of({"weights.hex": b"00"})))
    assert len(tools.steps) == 6
    tools.yosys([SMALL, SMALL], version="2.0")
    result = tools.build()
    assert (len(tools.steps), result.is_cached) == (9, False)
    assert result.tool_versions[:2] == ("YOSYS 2.0", "NEXTPNR_ICE40 1.0")


@pytest.mark.parametrize("damaged", ["top.bin", "build.json", "bundle.sha256"])
def test_a_damaged_build_is_not_taken_but_repaired(tools: PlayedTools, damaged: str) -> None:
    first = tools.build()
    (tools.entry / damaged).write_bytes(b"other bits")
    again = tools.build()
    assert again == first
    assert len(tools.steps) == 6
    assert tools.build().is_cached


def test_a_failed_build_leaves_nothing(tools: PlayedTools) -> None:
    tools.nextpnr(code=1, printed="ERROR: out of clay")
    error = tools.error()
    assert re.fullmatch(r"error\[tool-failed\]: nextpnr-ice40 exited with 1: \S+ --up5k .*\nERROR: out of clay", error)
    assert not tools.cache.exists()


def test_no_room_in_the_cache_is_an_error_with_its_place(tools: PlayedTools) -> None:
    tools.cache.write_text("a file, not a folder")
    assert re.fullmatch(
        r"error\[cannot-write\]: cannot write \S+/cache/builds/[0-9a-f]{64}: .*\n"
        r"  help: check its permissions and the free space",
        tools.error(),
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_refuses_leaves_the_earlier_builds(
    number: int, tools: PlayedTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tools.build()
    write = Path.write_bytes

    def refuse(path: Path, content: bytes) -> int:
        if path.is_relative_to(tools.cache):
            write(path, content[: len(content) // 2])  # a full disk takes the beginning
            raise OSError(number, os.strerror(number), str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(ToolError) as caught:
            tools.build(DESIGN.merged(OTHER))
    assert re.fullmatch(
        rf"error\[cannot-write\]: cannot write \S+/cache/builds/[0-9a-f]{{64}}: {os.strerror(number)}\n"
        r"  help: check its permissions and the free space",
        str(caught.value),
    )
    assert tools.build() == BuildResult(**{**vars(first), "is_cached": True})
    assert [entry.name for entry in (tools.cache / "builds").iterdir()] == [tools.entry.name]
    assert not tools.build(DESIGN.merged(OTHER)).is_cached


@pytest.mark.parametrize("at", ["YOSYS", "NEXTPNR_ICE40", "ICEPACK"])
def test_ctrl_c_in_any_tool_leaves_the_earlier_builds(
    at: str, tools: PlayedTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tools.build()
    run = Tool.run
    folders: list[Path] = []

    def interrupted(tool: Tool, arguments: tuple[str, ...], cwd: Path, **options: Any) -> ToolResult:
        folders.append(cwd)
        if tool.env == at:
            raise KeyboardInterrupt
        return run(tool, arguments, cwd, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Tool, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tools.build(DESIGN.merged(OTHER))
    assert not any(folder.exists() for folder in folders), "the folder of the build is gone"
    assert tools.build() == BuildResult(**{**vars(first), "is_cached": True})
    assert not tools.build(DESIGN.merged(OTHER)).is_cached


def test_a_missing_tool_is_reported_before_anything_runs(tools: PlayedTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICEPACK", "/nowhere/icepack")
    assert tools.error() == (
        "error[missing-tool]: icepack was not found: ICEPACK is '/nowhere/icepack', which is not a program\n"
        '  help: pip install "bitkiln[boards]"; or set ICEPACK to the command that runs it'
    )
    assert tools.calls == []


def test_too_many_block_rams_are_found_before_place_and_route(tools: PlayedTools) -> None:
    tools.yosys([SMALL | {"SB_RAM40_4K": 31, "SB_RAM40_4KNR": 9}, {}])
    assert tools.error() == (
        "error[does-not-fit]: the design does not fit on iCEBreaker (iCE40 UP5K): "
        "it needs 40 block RAMs (BRAM), but there are 30\n"
        "  help: take fewer weights, or fewer bits for each, until they take 75 % of this; "
        "or lower PE or SIMD, if that makes wide memories narrow and deep; or choose a larger board: "
        + ECP5S.replace("ulx3s-12f, ", "")  # 32 block RAMs
        + ", tang-nano-20k"
    )
    assert tools.steps == ["YOSYS"]


def test_too_many_multipliers_are_made_of_luts(tools: PlayedTools) -> None:
    tools.yosys([SMALL | {"SB_MAC16": 9}, {"SB_LUT4": 1000}])
    steps: list[str] = []
    build_bundle(DESIGN, ICEBREAKER, cache=tools.cache, on_step=steps.append)
    assert steps == ["synthesis", "synthesis with multipliers in LUTs", "place and route", "pack"]
    assert tools.calls[1] == "YOSYS -q -s synthesis_no_dsp.ys"


def test_too_many_multipliers_for_luts_are_too_many(tools: PlayedTools) -> None:
    tools.yosys([SMALL | {"SB_MAC16": 160}, {"SB_LUT4": 9000, "SB_DFF": 6000}])
    assert tools.error() == (
        "error[does-not-fit]: the design does not fit on iCEBreaker (iCE40 UP5K): "
        "it needs 160 multipliers (DSP), but there are 8; with its multipliers in LUTs it needs "
        "9000 logic cells (LUT), but there are 5280 and 6000 flip-flops (FF), but there are 5280\n"
        "  help: lower PE or SIMD of the largest layers until they take 5 % of this"
    )


def test_what_nextpnr_packs_decides(tools: PlayedTools) -> None:
    printed = "Info: Device utilisation:\nInfo: \t         ICESTORM_LC:    6000/   5280   113%\nERROR: no BELs"
    tools.nextpnr(code=1, printed=printed)
    assert tools.error() == (
        "error[does-not-fit]: the design does not fit on iCEBreaker (iCE40 UP5K): "
        "it needs 6000 logic cells (LUT), but there are 5280\n"
        "  help: lower PE or SIMD of the largest layers until they take 88 % of this; "
        f"or choose a larger board: {ECP5S}, {TANGS}"
    )


def test_a_missed_clock_is_an_error_from_the_cache_too(tools: PlayedTools) -> None:
    tools.nextpnr(fmax=11.9)
    message = (
        "error[misses-clock]: the design misses its clock on iCEBreaker (iCE40 UP5K): "
        "it needs 12 MHz, but it runs at 11.9 MHz at most\n"
        "  help: lower PE or SIMD of the widest layers, whose wires and multiplexers are the longest"
    )
    assert tools.error() == message
    assert tools.error() == message
    assert len(tools.steps) == 3


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert default_cache() == Path("/var/caches/bitkiln")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/potter")
    assert default_cache() == Path("/home/potter/.cache/bitkiln")


class Hungry(wiring.Component):
    """Base of accelerators that take room or time: each byte in gives a result, which `eat` makes."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(16))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        self.eat(m, self.i.valid & self.i.ready)
        return m

    def eat(self, m: Module, moves: Any) -> None:
        raise NotImplementedError


class RomEater(Hungry):
    """Takes 32 block RAMs of 4 kbit, side by side."""

    def eat(self, m: Module, moves: Any) -> None:
        contents = [random.getrandbits(512) for _ in range(256)]
        m.submodules.memory = memory = Memory(shape=512, depth=len(contents), init=contents)
        port = memory.read_port()
        with m.If(moves):
            m.d.sync += port.addr.eq(port.addr + self.i.payload)
        for bit in range(16):
            m.d.comb += self.o.payload[bit].eq(port.data[32 * bit : 32 * bit + 32].any())


class RomTimes(Hungry):
    """Multiplies each byte with the next entry of a table of 512 bytes, registers all round: one block RAM, one DSP."""

    def eat(self, m: Module, moves: Any) -> None:
        contents = [random.randrange(-128, 128) for _ in range(512)]
        m.submodules.memory = memory = Memory(shape=signed(8), depth=len(contents), init=contents)
        port = memory.read_port()
        weight, value = Signal(signed(8), reset_less=True), Signal(signed(8), reset_less=True)
        product = Signal(signed(16), reset_less=True)
        with m.If(moves):
            m.d.sync += port.addr.eq(port.addr + 1)
        m.d.sync += [weight.eq(port.data), value.eq(self.i.payload), product.eq(weight * value)]
        m.d.comb += self.o.payload.eq(product)


class CellEater(Hungry):
    """Takes 3200 flip-flops in a row and 2400 LUTs, which cannot share logic cells: each fits, both do not.

    The row is also deeper than the usual stack of WebAssembly.
    """

    def eat(self, m: Module, moves: Any) -> None:
        row = Signal(3200)
        with m.If(moves):
            m.d.sync += row.eq(Cat(self.i.payload[0], row))
        bits = [[row[random.randrange(3200)] for _ in range(4)] for _ in range(1800)]
        m.d.comb += self.o.payload.eq(Cat((a & b) | (c & ~d) for a, b, c, d in bits).any())


class TimeEater(Hungry):
    """Adds 20 times in one cycle, each time to bits that the addition before gave last."""

    def eat(self, m: Module, moves: Any) -> None:
        state = Signal(16)
        value: Any = state
        for step in range(20):
            total = Signal(16, name=f"total{step}")
            m.d.comb += total.eq(value.rotate_left(5) + state)
            value = total
        with m.If(moves):
            m.d.sync += state.eq(value + self.i.payload)
        m.d.comb += self.o.payload.eq(state)


def build_hungry(accelerator: Hungry, cache: Path) -> str:
    """Return the error of a design that cannot be built for iCEBreaker."""
    with pytest.raises(ToolError) as caught:
        build(accelerator, adder_identity(1, ICEBREAKER.clock_hz), ICEBREAKER, cache=cache)
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "gowin_pack")
@pytest.mark.parametrize("board", [ICEBREAKER, ULX3S_85F, TANG_NANO_9K], ids=lambda board: board.name)
def test_each_family_gets_a_reproducible_bitstream(board: Board, tmp_path: Path) -> None:
    identity = adder_identity(BEATS, board.clock_hz)
    first = build(RomTimes(), identity, board, cache=tmp_path)
    # The file's own magic: iCE40 begins with FF 00 .. 7E AA 99 7E, ECP5 has FF FF BD B3 after its comment; Gowin's file
    # is text, and its second line but one A5 C3.
    magic = {
        Family.ICE40: b"\x7e\xaa\x99\x7e",
        Family.ECP5: b"\xff\xff\xbd\xb3",
        Family.GOWIN: f"\n{0xA5C3:016b}\n".encode(),
    }[board.family]
    assert magic in first.bitstream[:200]
    assert first.used.fits(first.available)
    # The table is in a block RAM, beside it the link's buffers may be; the product is in a multiplier.
    assert first.used.bram >= 1
    assert first.used.dsp == 1
    # The link: hundreds of cells, whichever tool versions.
    assert 300 < first.used.lut < 1500
    assert 200 < first.used.ff < 1000
    assert first.fmax_mhz > first.clock_mhz
    assert bool(first.caveat) == (board.family is Family.GOWIN)
    random.seed(SEED)
    again = build(RomTimes(), identity, board, cache=tmp_path / "another")
    assert again == first
    random.seed(SEED)
    cached = build(RomTimes(), identity, board, cache=tmp_path)
    assert cached.is_cached
    assert cached.bitstream == first.bitstream


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_a_memory_that_is_too_large_does_not_fit(tmp_path: Path) -> None:
    assert build_hungry(RomEater(), tmp_path) == (
        "error[does-not-fit]: the design does not fit on iCEBreaker (iCE40 UP5K): "
        "it needs 32 block RAMs (BRAM), but there are 30\n"
        "  help: take fewer weights, or fewer bits for each, until they take 93 % of this; "
        "or lower PE or SIMD, if that makes wide memories narrow and deep; or choose a larger board: "
        f"hx8k-breakout, tinyfpga-bx, {ECP5S}, tang-nano-20k"
    )


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_cells_that_cannot_be_shared_do_not_fit(tmp_path: Path) -> None:
    found = re.fullmatch(
        r"error\[does-not-fit\]: the design does not fit on iCEBreaker \(iCE40 UP5K\): "
        r"it needs (\d+) logic cells \(LUT\), but there are 5280\n"
        r"  help: lower PE or SIMD of the largest layers until they take (\d+) % of this; "
        r"or choose a larger board: hx8k-breakout, tinyfpga-bx, " + f"{ECP5S}, {TANGS}",
        build_hungry(CellEater(), tmp_path),
    )
    assert found
    needed, percent = (int(number) for number in found.groups())
    assert needed > 5280
    assert percent == 100 * 5280 // needed


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_a_design_that_is_too_slow_misses_its_clock(tmp_path: Path) -> None:
    found = re.fullmatch(
        r"error\[misses-clock\]: the design misses its clock on iCEBreaker \(iCE40 UP5K\): "
        r"it needs 12 MHz, but it runs at ([\d.]+) MHz at most\n"
        r"  help: lower PE or SIMD of the widest layers, whose wires and multiplexers are the longest",
        build_hungry(TimeEater(), tmp_path),
    )
    assert found
    assert 1 < float(found[1]) < 12
