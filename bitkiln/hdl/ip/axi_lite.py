"""An AXI4-Lite slave in front of registers: one read and one write at a time, every answer OKAY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .registers import ADDRESS_BITS, IDENTITY_ADDRESS, WORD_BYTES, Control, Register

_OKAY = 0
# As the AXI specification names them: from the slave's side.
AXI_LITE_PORTS = {
    "awaddr": In(ADDRESS_BITS),
    "awprot": In(3),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(32),
    "wstrb": In(4),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDRESS_BITS),
    "arprot": In(3),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(32),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}
_WRITTEN = (Register.CONTROL,)


class AxiLiteRegisters(wiring.Component):
    """Gives the values of `registers` (inputs named as the registers, in lower case) and the bytes of an identity.

    `control` has the written bits of CONTROL, for one cycle. The ports beside are AXI4-Lite's without their prefix.
    """

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        values = {register.name.lower(): In(32) for register in Register if register not in _WRITTEN}
        super().__init__(AXI_LITE_PORTS | values | {"control": Out(len(Control))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Address and data are taken together, in the cycle in which both are there and no answer is waiting."""
        take = Signal()
        is_control = self.awaddr[2:] == Register.CONTROL // WORD_BYTES
        m.d.comb += [
            take.eq(self.awvalid & self.wvalid & ~self.bvalid),
            self.awready.eq(take),
            self.wready.eq(take),
            self.bresp.eq(_OKAY),
        ]
        m.d.sync += self.control.eq(0)
        with m.If(take):
            m.d.sync += self.bvalid.eq(1)
            with m.If(is_control & self.wstrb[0]):
                m.d.sync += self.control.eq(self.wdata)
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)

    def _read(self, m: Module) -> None:
        m.d.comb += [self.arready.eq(~self.rvalid), self.rresp.eq(_OKAY)]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0)]
            with m.Switch(self.araddr[2:]):
                for word, value in self._words().items():
                    with m.Case(word):
                        m.d.sync += self.rdata.eq(value)
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)

    def _words(self) -> Mapping[int, Value]:
        words: dict[int, Value] = {
            register // WORD_BYTES: getattr(self, register.name.lower())
            for register in Register
            if register not in _WRITTEN
        }
        for start in range(0, len(self._identity), WORD_BYTES):
            value = int.from_bytes(self._identity[start : start + WORD_BYTES], "little")
            words[(IDENTITY_ADDRESS + start) // WORD_BYTES] = Const(value, 32)
        return words
