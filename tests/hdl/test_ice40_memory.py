"""Our map of iCE40's block RAMs against yosys' own: the same cells, contents and wires."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib.memory import Memory

from bitkiln.hdl.ice40_memory import bram_map
from bitkiln.hdl.toolchain import YOSYS

MAPPED = """
read_rtlil top.il
synth_ice40 -device u -top top -run begin:map_ram
memory_libmap -lib +/ice40/brams.txt -lib +/ice40/spram.txt -no-auto-huge
"""
STOCK = "techmap -map +/ice40/brams_map.v -map +/ice40/spram_map.v\n"
WRITE = """
ice40_braminit
synth_ice40 -device u -top top -run map_ffram:
write_json {name}.json
"""


def design(width: int, *, is_written: bool, edge: str) -> str:
    """A memory that fills a block RAM, with ports of `width`; RTLIL."""
    m = Module()
    m.domains += ClockDomain("sync", clk_edge=edge)
    depth = 4096 // width
    contents = [random.getrandbits(width) for _ in range(depth)]
    m.submodules.memory = memory = Memory(shape=width, depth=depth, init=contents)
    read = memory.read_port()
    ports = [Signal(range(depth), name="ra"), Signal(width, name="rd"), Signal(1, name="re")]
    m.d.comb += [read.addr.eq(ports[0]), ports[1].eq(read.data), read.en.eq(ports[2])]
    if is_written:
        granularity = 1 if width == 16 else None
        write = memory.write_port(granularity=granularity)
        written = [Signal(range(depth), name="wa"), Signal(width, name="wd"), Signal(len(write.en), name="we")]
        m.d.comb += [write.addr.eq(written[0]), write.data.eq(written[1]), write.en.eq(written[2])]
        ports += written
    return str(rtlil.convert(m, ports=ports, emit_src=False))


def block_rams(folder: Path, name: str, script: str) -> list[Any]:
    (folder / f"{name}.ys").write_text(MAPPED + script + WRITE.format(name=name))
    YOSYS.run(("-q", "-s", f"{name}.ys"), folder)
    module = json.loads((folder / f"{name}.json").read_text())["modules"]["top"]
    names = {
        bit: f"{wire}[{place}]"
        for wire, net in sorted(module["ports"].items())
        for place, bit in enumerate(net["bits"])
    }
    # A constant is a string; the wires between the cells are numbered anew in each netlist.
    return [
        (
            cell["type"],
            cell["parameters"],
            {
                pin: [bit if isinstance(bit, str) else names.get(bit, "inner") for bit in bits]
                for pin, bits in cell["connections"].items()
            },
        )
        for cell in module["cells"].values()
        if cell["type"].startswith("SB_RAM40")
    ]


@pytest.mark.tools("yosys")
@pytest.mark.parametrize(
    ("width", "is_written", "edge"),
    [
        (2, True, "pos"),
        (8, True, "pos"),
        (16, True, "pos"),
        (16, False, "pos"),
        (16, True, "neg"),
    ],
)
def test_the_cells_are_those_of_yosys(tmp_path: Path, width: int, is_written: bool, edge: str) -> None:
    (tmp_path / "top.il").write_text(design(width, is_written=is_written, edge=edge))
    (tmp_path / "ours.v").write_text(bram_map())
    ours = block_rams(tmp_path, "ours", "techmap -map ours.v\n" + STOCK)
    stock = block_rams(tmp_path, "stock", STOCK)
    assert ours == stock
    (cell,) = ours
    assert cell[0] == ("SB_RAM40_4K" if edge == "pos" else "SB_RAM40_4KNRNW")


@pytest.mark.tools("yosys")
def test_a_whole_word_memory_is_not_left_to_yosys(tmp_path: Path) -> None:
    (tmp_path / "top.il").write_text(design(16, is_written=True, edge="pos"))
    (tmp_path / "ours.v").write_text(bram_map())
    assert len(block_rams(tmp_path, "ours", "techmap -map ours.v\n")) == 1
