"""A host's end of a design that runs in Amaranth's simulator: the very same host program talks to it."""

from __future__ import annotations

from collections import deque
from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from bitkiln.hdl.board_top import HostedAccelerator
from bitkiln.hdl.host import Transport
from bitkiln.hdl.link import Link, LinkTiming
from bitkiln.hdl.protocol import Identity

CLOCK_HZ = 1_000_000
QUIET_CYCLES = 40
TIMING = LinkTiming(quiet_cycles=QUIET_CYCLES, watchdog_cycles=60)


class SimulatedDevice(Transport):
    """Bytes in and out of a simulated link around an accelerator. Reading advances the simulation.

    `read` returns what came within `patience_cycles`, as a serial port does within its time-out. `fed` counts
    the beats that the accelerator took. `pause` lets time pass.
    """

    def __init__(
        self,
        accelerator: wiring.Component,
        identity: Identity,
        timing: LinkTiming = TIMING,
        patience_cycles: int = 160,
    ) -> None:
        self.fed = 0
        self._patience_cycles = patience_cycles
        self._to_send: deque[int] = deque()
        self._received = bytearray()
        self._accelerator = accelerator
        self._now_cycles = 0
        simulator = self._simulator = Simulator(self._design(accelerator, identity, timing))
        simulator.add_clock(1 / CLOCK_HZ)
        for part in (self._send, self._receive, self._count):
            simulator.add_testbench(part, background=True)

    def _design(self, accelerator: wiring.Component, identity: Identity, timing: LinkTiming) -> Module:
        m = Module()
        m.submodules.link = self._link = link = Link(identity, timing)
        m.submodules.accelerator = ResetInserter(link.reset)(accelerator)
        wiring.connect(m, link.o, accelerator.i)
        wiring.connect(m, accelerator.o, link.i)
        return m

    def write(self, data: bytes, /) -> None:
        self._to_send.extend(data)

    def read(self, size: int, /) -> bytes:
        for _ in range(0, self._patience_cycles, 20):
            if self._received:
                break
            self.pause(20)
        came, self._received = bytes(self._received[:size]), self._received[size:]
        return came

    def pause(self, cycles: int) -> None:
        self._now_cycles += cycles
        self._simulator.run_until(self._now_cycles / CLOCK_HZ)

    async def _send(self, ctx: Any) -> None:
        link = self._link
        while True:
            if not self._to_send:
                await ctx.tick()
                continue
            ctx.set(link.rx.payload, self._to_send.popleft())
            ctx.set(link.rx.valid, 1)
            is_taken = False
            while not is_taken:
                *_, is_taken = await ctx.tick().sample(link.rx.ready)
            ctx.set(link.rx.valid, 0)

    async def _receive(self, ctx: Any) -> None:
        ctx.set(self._link.tx.ready, 1)
        stream = self._link.tx
        async for _, _, valid, payload in ctx.tick().sample(stream.valid, stream.payload):
            if valid:
                self._received.append(payload)

    async def _count(self, ctx: Any) -> None:
        stream = self._accelerator.i
        async for _, _, valid, ready in ctx.tick().sample(stream.valid, stream.ready):
            self.fed += int(valid and ready)


class WiredDevice(SimulatedDevice):
    """The same, through the serial port's wires, bit by bit."""

    BIT_CYCLES = 4
    WIRED_TIMING = LinkTiming(quiet_cycles=100 * BIT_CYCLES, watchdog_cycles=1000)

    def __init__(self, accelerator: wiring.Component, identity: Identity) -> None:
        super().__init__(accelerator, identity, self.WIRED_TIMING, patience_cycles=4000)

    def _design(self, accelerator: wiring.Component, identity: Identity, timing: LinkTiming) -> Module:
        m = Module()
        m.submodules.hosted = hosted = HostedAccelerator(accelerator, identity, self.BIT_CYCLES, timing)
        self._rx = Signal(init=1)
        self._tx = Signal(init=1)
        m.d.comb += [hosted.rx.eq(self._rx), self._tx.eq(hosted.tx)]
        return m

    async def _send(self, ctx: Any) -> None:
        while True:
            if not self._to_send:
                await ctx.tick()
                continue
            byte = self._to_send.popleft()
            for level in (0, *(byte >> bit & 1 for bit in range(8)), 1):
                ctx.set(self._rx, level)
                await self._wait(ctx, self.BIT_CYCLES)

    async def _receive(self, ctx: Any) -> None:
        while True:
            await ctx.tick()
            if ctx.get(self._tx):
                continue
            await self._wait(ctx, self.BIT_CYCLES // 2)
            byte = 0
            for bit in range(8):
                await self._wait(ctx, self.BIT_CYCLES)
                byte |= ctx.get(self._tx) << bit
            await self._wait(ctx, self.BIT_CYCLES)
            assert ctx.get(self._tx), "no stop bit"
            self._received.append(byte)

    async def _wait(self, ctx: Any, cycles: int) -> None:
        # Not `repeat` or `until`: a simulation that is dropped in the midst of one complains.
        for _ in range(cycles):
            await ctx.tick()
