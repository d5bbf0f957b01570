"""The serial port on its wires, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from amaranth.hdl import Module
from amaranth.sim import Simulator

from bitkiln.boards.baud import cycles_per_bit
from bitkiln.hdl.uart import UartReceiver, UartTransmitter
from bitkiln.ir import ToolError

BIT_CYCLES = 8
BYTES = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0x42])


def frame(byte: int, *, stop: int = 1) -> list[int]:
    return [0, *(byte >> bit & 1 for bit in range(8)), stop]


def received(levels: Sequence[tuple[int, int]], *, bit_cycles: int = BIT_CYCLES, ready: bool = True) -> bytes:
    """Return what comes out of a receiver for a line that has each level for so many cycles."""
    receiver = UartReceiver(bit_cycles)
    came = bytearray()

    async def drive(ctx: Any) -> None:
        for level, cycles in levels:
            ctx.set(receiver.rx, level)
            await ctx.tick().repeat(cycles)

    async def take(ctx: Any) -> None:
        ctx.set(receiver.o.ready, ready)
        async for _, _, valid, payload in ctx.tick().sample(receiver.o.valid, receiver.o.payload):
            if valid and ready:
                came.append(payload)

    async def take_at_the_end(ctx: Any) -> None:
        await ctx.tick().repeat(sum(cycles for _, cycles in levels) - 1)
        if ctx.get(receiver.o.valid):
            came.append(ctx.get(receiver.o.payload))

    simulator = Simulator(receiver)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(take if ready else take_at_the_end, background=ready)
    simulator.run()
    return bytes(came)


def line(data: bytes, *, cycles: int = BIT_CYCLES, idle: int = 4 * BIT_CYCLES) -> list[tuple[int, int]]:
    bits = [(bit, cycles) for byte in data for bit in frame(byte)]
    return [(1, idle), *bits, (1, idle)]


@pytest.mark.parametrize("bit_cycles", [4, 7, 12, 25])
def test_bytes_back_to_back_are_received(bit_cycles: int) -> None:
    assert received(line(BYTES, cycles=bit_cycles), bit_cycles=bit_cycles) == BYTES


@pytest.mark.parametrize("sender_cycles", [97, 98, 102, 103])
def test_a_sender_that_is_up_to_3_percent_off_is_received(sender_cycles: int) -> None:
    assert received(line(BYTES[:4], cycles=sender_cycles, idle=400), bit_cycles=100) == BYTES[:4]


def test_a_spike_is_no_start_bit() -> None:
    assert received([(1, 20), (0, 2), (1, 200), *line(b"\x42")]) == b"\x42"


def test_a_byte_without_stop_bit_is_dropped_and_the_next_is_received() -> None:
    broken = [(bit, BIT_CYCLES) for bit in frame(0x13, stop=0)]
    assert received([(1, 20), *broken, *line(b"\x42")]) == b"\x42"


def test_a_break_is_no_byte() -> None:
    assert received([(1, 20), (0, 40 * BIT_CYCLES), *line(b"\x42")]) == b"\x42"


def test_a_byte_that_nobody_takes_is_kept_and_later_ones_are_dropped() -> None:
    assert received(line(b"\x01\x02\x03"), ready=False) == b"\x01"


def test_the_transmitter_sends_each_bit_for_its_time() -> None:
    transmitter = UartTransmitter(BIT_CYCLES)
    levels: list[int] = []

    async def give(ctx: Any) -> None:
        for byte in BYTES:
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(12 * BIT_CYCLES)

    async def watch(ctx: Any) -> None:
        async for _, _, level in ctx.tick().sample(transmitter.tx):
            levels.append(level)

    simulator = Simulator(transmitter)
    simulator.add_clock(1e-6)
    simulator.add_testbench(give)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    start = levels.index(0)
    assert set(levels[:start]) <= {1}
    position = start
    for byte in BYTES:
        sent = levels[position : position + 10 * BIT_CYCLES]
        assert sent == [bit for bit in frame(byte) for _ in range(BIT_CYCLES)]
        position += 10 * BIT_CYCLES
        while levels[position : position + 1] == [1] and 0 in levels[position:]:
            position += 1
    assert set(levels[position:]) == {1}


def test_what_is_transmitted_is_received() -> None:
    m = Module()
    m.submodules.transmitter = transmitter = UartTransmitter(5)
    m.submodules.receiver = receiver = UartReceiver(5)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    came = bytearray()

    async def give(ctx: Any) -> None:
        ctx.set(transmitter.i.valid, 1)
        for byte in range(256):
            ctx.set(transmitter.i.payload, byte)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(100)

    async def take(ctx: Any) -> None:
        ctx.set(receiver.o.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(receiver.o.valid, receiver.o.payload):
            if valid:
                came.append(payload)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(give)
    simulator.add_testbench(take, background=True)
    simulator.run()
    assert bytes(came) == bytes(range(256))


def test_the_baud_rate_is_a_whole_part_of_the_clock() -> None:
    assert cycles_per_bit(12_000_000, 115_200) == 104
    assert cycles_per_bit(25_000_000, 1_000_000) == 25


@pytest.mark.parametrize(
    ("baud", "cycles"),
    [(7_000_000, "2 cycles and 14.3%"), (2_700_000, "4 cycles and 11.1%"), (12_000_000, "1 cycles and 0.0%")],
)
def test_a_rate_that_the_clock_cannot_make_is_refused(baud: int, cycles: str) -> None:
    with pytest.raises(ToolError) as caught:
        cycles_per_bit(12_000_000, baud)
    assert str(caught.value) == (
        f"error[wrong-baud]: a clock of 12000000 Hz cannot make {baud} baud: a bit would be {cycles} off, "
        "but it must be at least 4 cycles and at most 2% off\n"
        "  help: choose a whole part of the clock, at most 3000000 baud"
    )
