"""The cocotb test that `bitkiln.hdl.ip.bench` runs: packets through the AXI ports of the block, by cocotbext-axi.

Read from the folder named by BITKILN_RUN_FOLDER: request.json. Written there: result.json. Beside the bus models, which
others wrote, each cycle is watched: an offer that is not taken must stay as it is.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

CYCLE_NS = 10
RESET_CYCLES = 4
# What the block offers: valid, ready and what must not change in between.
_OFFERS = (
    ("m_axis_tvalid", "m_axis_tready", ("m_axis_tdata", "m_axis_tlast")),
    ("s_axi_rvalid", "s_axi_rready", ("s_axi_rdata", "s_axi_rresp")),
    ("s_axi_bvalid", "s_axi_bready", ("s_axi_bresp",)),
)


@dataclass(frozen=True)
class Phase:
    """Packets (hexadecimal) to send and how many results to wait for.

    Both sides pause in `pauses_per_256` of the cycles. If `cut_cycles` is not 0, the block is reset after so many, by
    its pin (`hard`) or its register, and the phase ends with the results that came.
    """

    packets: tuple[str, ...]
    results: int
    pauses_per_256: int
    cut_cycles: int = 0
    hard: bool = False


@dataclass(frozen=True)
class IpRequest:
    """What to run. `reads` are the addresses of the registers that are read after each phase."""

    phases: tuple[Phase, ...]
    reads: tuple[int, ...]
    control_address: int
    reset_bit: int
    seed: int
    max_cycles: int


@dataclass(frozen=True)
class IpResult:
    """Of each phase the results (hexadecimal, a packet each) and the registers; `wrong` says what ended the run."""

    results: tuple[tuple[str, ...], ...]
    registers: tuple[tuple[int, ...], ...]
    wrong: str


class Bench:
    """The block with a bus model at each interface."""

    def __init__(self, top: Any, request: IpRequest) -> None:
        self.top, self.request = top, request
        self.random = random.Random(request.seed)
        self.wrong = ""
        self.resetting = False
        top.aresetn.value = 0
        ends = (top.aclk, top.aresetn)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(top, "s_axis"), *ends, reset_active_level=False)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(top, "m_axis"), *ends, reset_active_level=False)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(top, "s_axi"), *ends, reset_active_level=False)
        self._tasks = [cocotb.start_soon(self._watch(*offer)) for offer in _OFFERS]

    async def _watch(self, valid: str, ready: str, payload: tuple[str, ...]) -> None:
        stalled: list[int] | None = None
        while True:
            await RisingEdge(self.top.aclk)
            await ReadOnly()
            if not int(self.top.aresetn.value) or self.resetting:
                stalled = None
                continue
            is_valid = int(getattr(self.top, valid).value)
            now = [int(getattr(self.top, name).value) for name in payload] if is_valid else None
            if stalled is not None and now != stalled:
                self.wrong = self.wrong or f"{valid}: an offer changed from {stalled} to {now} before it was taken"
            stalled = now if now is not None and not int(getattr(self.top, ready).value) else None

    def pauses(self, per_256: int) -> Iterator[bool]:
        while True:
            yield self.random.randrange(256) < per_256

    def set_pauses(self, per_256: int) -> None:
        lite = self.registers
        channels = (
            lite.write_if.aw_channel,
            lite.write_if.w_channel,
            lite.write_if.b_channel,
            lite.read_if.ar_channel,
            lite.read_if.r_channel,
        )
        for end in (self.source, self.sink, *channels):
            end.clear_pause_generator()
            end.pause = False
            if per_256:
                end.set_pause_generator(self.pauses(per_256))

    async def reset(self) -> None:
        self.top.aresetn.value = 0
        await ClockCycles(self.top.aclk, RESET_CYCLES)
        self.top.aresetn.value = 1
        await ClockCycles(self.top.aclk, 2)

    async def soft_reset(self) -> None:
        """Reset by the register; source and sink start anew, as a host resets its DMA."""
        self.resetting = True
        self.source.assert_reset(True)
        self.sink.assert_reset(True)
        await self.registers.write_dword(self.request.control_address, self.request.reset_bit)
        await ClockCycles(self.top.aclk, 4)
        self.source.assert_reset(False)
        self.sink.assert_reset(False)
        await ClockCycles(self.top.aclk, 1)
        self.resetting = False

    async def run(self, phase: Phase) -> list[str]:
        self.set_pauses(phase.pauses_per_256)
        for packet in phase.packets:
            await self.source.send(AxiStreamFrame(bytes.fromhex(packet)))
        results: list[str] = []
        if phase.cut_cycles:
            await ClockCycles(self.top.aclk, phase.cut_cycles)
            while not self.sink.empty():
                results.append(self.sink.recv_nowait().tdata.hex())
            self.source.clear()
            await (self.reset() if phase.hard else self.soft_reset())
            self.sink.clear()
            return results
        while len(results) < phase.results and not self.wrong:
            results.append(bytes((await self.sink.recv()).tdata).hex())
        await ClockCycles(self.top.aclk, 64)
        if not self.sink.empty():
            self.wrong = self.wrong or "more results came than packets went in"
        return results


@cocotb.test()
async def packets(top: Any) -> None:
    """Run the request of the run folder; its failure is a result, not a failed test."""
    folder = Path(os.environ["BITKILN_RUN_FOLDER"])
    content = json.loads((folder / "request.json").read_text())
    request = IpRequest(**content | {"phases": tuple(Phase(**phase) for phase in content["phases"])})
    bench = Bench(top, request)
    Clock(top.aclk, CYCLE_NS, unit="ns").start()
    await bench.reset()
    results: list[tuple[str, ...]] = []
    registers: list[tuple[int, ...]] = []

    async def run_all() -> None:
        for phase in request.phases:
            results.append(tuple(await bench.run(phase)))
            registers.append(tuple([await bench.registers.read_dword(address) for address in request.reads]))

    try:
        await with_timeout(run_all(), request.max_cycles * CYCLE_NS, "ns")
    except SimTimeoutError:
        bench.wrong = bench.wrong or f"not done within {request.max_cycles} cycles, in phase {len(results)}"
    result = IpResult(tuple(results), tuple(registers), bench.wrong)
    (folder / "result.json").write_text(json.dumps(asdict(result)))
