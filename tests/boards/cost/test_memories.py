"""Memories as yosys maps them: numbers that synthesis gave, and random ones against synthesis itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bitkiln.boards import Family, find_board
from bitkiln.boards.cost import Mapped, Memory, Style, map_memory

ROM, RAM = False, True


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(66, 16), Mapped(rom_bits=1056)),
        (Memory(67, 16), Mapped(blocks=1)),
        (Memory(67, 16, style=Style.LOGIC), Mapped(rom_bits=1072)),
        (Memory(32, 4, style=Style.BLOCK), Mapped(blocks=1)),
        (Memory(1024, 8, reads=2), Mapped(blocks=4)),
        (Memory(9, 8, is_written=True), Mapped(register_bits=72)),
        (Memory(32, 8, is_written=True), Mapped(blocks=1, bypassed=8, delayed=14)),
        (Memory(32, 8, is_written=True, is_transparent=True), Mapped(blocks=1, bypassed=8)),
        (Memory(300, 20, is_written=True), Mapped(blocks=3, bypassed=20, delayed=30)),
        (Memory(1, 40), Mapped()),
        (Memory(100, 0), Mapped()),
    ],
)
def test_what_synthesis_made_of_a_memory_on_ice40(memory: Memory, expected: Mapped) -> None:
    assert map_memory(memory, Family.ICE40) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(130, 16), Mapped(rom_bits=2080)),
        (Memory(131, 16), Mapped(blocks=1)),
        (Memory(16, 8, is_written=True), Mapped(lut_rams=2)),
        (Memory(128, 8, is_written=True), Mapped(lut_rams=16, muxes=56)),
        (Memory(200, 8, is_written=True), Mapped(blocks=1, bypassed=8, delayed=17)),
        (Memory(512, 37, is_written=True), Mapped(blocks=2, bypassed=37, delayed=47)),
        (Memory(40, 72, is_written=True), Mapped(blocks=2, bypassed=72, delayed=79)),
        (Memory(40, 58, is_written=True), Mapped(lut_rams=45, muxes=116)),
        (Memory(100, 13, is_written=True), Mapped(blocks=1, bypassed=13, delayed=21)),
    ],
)
def test_what_synthesis_made_of_a_memory_on_ecp5(memory: Memory, expected: Mapped) -> None:
    assert map_memory(memory, Family.ECP5) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(100, 13, is_written=True), Mapped(lut_rams=28, muxes=78)),
        (Memory(100, 41, reads=2, style=Style.BLOCK), Mapped(blocks=3)),
        (Memory(1500, 31, is_written=True), Mapped(blocks=3, muxes=62, bypassed=31, delayed=43)),
        (Memory(17, 11, style=Style.BLOCK), Mapped(blocks=1)),
    ],
)
def test_what_synthesis_made_of_a_memory_on_gowin(memory: Memory, expected: Mapped) -> None:
    assert map_memory(memory, Family.GOWIN) == expected


@pytest.mark.slow
@pytest.mark.tools("yosys")
@pytest.mark.parametrize(("board", "cell"), [("icebreaker", "SB_RAM40_4K"), ("ulx3s-85f", "DP16KD")])
def test_random_memories_are_mapped_as_synthesis_does(board: str, cell: str, tmp_path: Path) -> None:
    pytest.importorskip("amaranth")
    rng = random.Random(7)
    memories = [_drawn(rng) for _ in range(6)]
    counts = [_synthesised(memory, board, tmp_path / str(number)) for number, memory in enumerate(memories)]
    found = [(memory, count.get(cell, 0)) for memory, count in zip(memories, counts, strict=True)]
    assert found == [(memory, map_memory(memory, find_board(board).family).blocks) for memory in memories]


def _drawn(rng: random.Random) -> Memory:
    is_written = rng.random() < 0.5
    depth, width = rng.choice([5, 17, 40, 100, 300, 700, 1500]), rng.randint(1, 60)
    style = Style.AUTO if is_written else rng.choice([Style.AUTO, Style.AUTO, Style.BLOCK])
    reads = 1 if is_written else rng.choice([1, 1, 2, 3])
    return Memory(depth, width, reads, is_written, is_written and rng.random() < 0.3, style)


def _synthesised(memory: Memory, board_name: str, folder: Path) -> dict[str, int]:
    """The cells that the build's own script makes of the memory alone."""
    from amaranth.back import rtlil  # noqa: PLC0415
    from amaranth.hdl import Module, Signal, unsigned  # noqa: PLC0415
    from amaranth.lib.memory import Memory as AmaranthMemory  # noqa: PLC0415

    from bitkiln.hdl.family_tools import family_tools  # noqa: PLC0415
    from bitkiln.hdl.toolchain import YOSYS  # noqa: PLC0415

    m, rng = Module(), random.Random(memory.width)
    contents = [] if memory.is_written else [rng.getrandbits(memory.width) for _ in range(memory.depth)]
    attributes = {} if memory.style is Style.AUTO else {"rom_style": memory.style.value}
    m.submodules.memory = made = AmaranthMemory(
        shape=unsigned(memory.width), depth=memory.depth, init=contents, attrs=attributes
    )
    ports: list[Any] = []
    writes = []
    if memory.is_written:
        port = made.write_port()
        signals = [
            Signal(len(signal), name=name) for name, signal in (("a", port.addr), ("d", port.data), ("e", port.en))
        ]
        m.d.comb += [mine.eq(own) for mine, own in zip((port.addr, port.data, port.en), signals, strict=True)]
        ports, writes = [*signals], [port]
    for number in range(memory.reads):
        read = made.read_port(domain="sync", transparent_for=writes if memory.is_transparent else ())
        address, data = Signal(len(read.addr), name=f"ra{number}"), Signal(memory.width, name=f"rd{number}")
        m.d.comb += [read.addr.eq(address), data.eq(read.data)]
        ports += [address, data]
    tools = family_tools(find_board(board_name))
    folder.mkdir()
    for path in tools.files.paths:
        (folder / path).write_bytes(tools.files[path])
    (folder / "top.il").write_text(rtlil.convert(m, name="top", ports=ports, emit_src=False))
    (folder / "memory.ys").write_text(tools.script(True))
    YOSYS.run(("-q", "-s", "memory.ys"), folder)
    cells: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return cells
