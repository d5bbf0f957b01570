"""The block: an accelerator between AXI4-Stream ports, with AXI4-Lite registers; ports have their literal AXI names."""

from __future__ import annotations

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from bitkiln.hdl.protocol import Identity

from .axi_lite import AXI_LITE_PORTS, AxiLiteRegisters
from .framing import InputFraming, OutputFraming, tdata_bytes
from .monitor import Monitor
from .registers import MAGIC, Control


class IpCore(Elaboratable):
    """An accelerator with the streams `i` and `o` of `identity`, as a block for AXI tools.

    Ports: `aclk`, `aresetn` (active low, synchronous), `s_axis_*` takes an image a packet, `m_axis_*` gives a result a
    packet, `s_axi_*` are the registers. One clock for all.
    """

    def __init__(self, accelerator: wiring.Component, identity: Identity) -> None:
        self._accelerator = accelerator
        self._identity = identity
        widths = {"aclk": 1, "aresetn": 1}
        for prefix, stream in (("s_axis", identity.input), ("m_axis", identity.output)):
            widths |= {f"{prefix}_tdata": 8 * tdata_bytes(stream.beat.width)}
            widths |= {f"{prefix}_{name}": 1 for name in ("tvalid", "tready", "tlast")}
        widths |= {f"s_axi_{name}": member.shape for name, member in AXI_LITE_PORTS.items()}
        self.port = {name: Signal(width, name=name) for name, width in widths.items()}

    def rtlil(self, name: str) -> str:
        """Return the block as RTLIL, a module called `name`; the same block gives the same text."""
        return str(rtlil.convert(self, name=name, ports=list(self.port.values()), emit_src=False))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port = self.port
        m.domains.sync = domain = ClockDomain("sync")
        domain.clk = port["aclk"]
        m.d.comb += domain.rst.eq(~port["aresetn"])
        m.submodules.registers = registers = AxiLiteRegisters(self._identity.encode())
        for name, member in AXI_LITE_PORTS.items():
            inner, outer = getattr(registers, name), port[f"s_axi_{name}"]
            m.d.comb += inner.eq(outer) if member.flow is wiring.In else outer.eq(inner)
        soft_reset = registers.control[Control.RESET.bit_length() - 1]
        monitor = self._streams(m, soft_reset, domain.rst)
        m.d.comb += [
            monitor.clear_errors.eq(registers.control[Control.CLEAR_ERRORS.bit_length() - 1]),
            registers.magic.eq(MAGIC),
            registers.status.eq(monitor.status),
            registers.images.eq(monitor.images),
            registers.results.eq(monitor.results),
            registers.wrong_packets.eq(monitor.wrong_packets),
            registers.latency.eq(monitor.latency),
            registers.interval.eq(monitor.interval),
        ]
        return m

    def _streams(self, m: Module, soft_reset: Any, hard_reset: Any) -> Monitor:
        """Connect accelerator and framings; while either reset is on, nothing is taken or offered."""
        port = self.port
        source, sink, monitor = InputFraming(self._identity.input), OutputFraming(self._identity.output), Monitor()
        m.submodules.source = ResetInserter(soft_reset)(source)
        m.submodules.accelerator = ResetInserter(soft_reset)(self._accelerator)
        m.submodules.sink = ResetInserter(soft_reset)(sink)
        m.submodules.monitor = ResetInserter(soft_reset)(monitor)
        connect(m, source.o, self._accelerator.i)
        connect(m, self._accelerator.o, sink.i)
        is_up = ~(soft_reset | hard_reset)
        m.d.comb += [
            source.tdata.eq(port["s_axis_tdata"]),
            source.tlast.eq(port["s_axis_tlast"]),
            source.tvalid.eq(port["s_axis_tvalid"] & is_up),
            port["s_axis_tready"].eq(source.tready & is_up),
            port["m_axis_tdata"].eq(sink.tdata),
            port["m_axis_tlast"].eq(sink.tlast),
            port["m_axis_tvalid"].eq(sink.tvalid & is_up),
            sink.tready.eq(port["m_axis_tready"] & is_up),
            monitor.image_starts.eq(source.is_first),
            monitor.image_ends.eq(source.is_last),
            monitor.result_ends.eq(sink.is_last),
            monitor.is_early.eq(source.is_early),
            monitor.is_late.eq(source.is_late),
        ]
        return monitor
