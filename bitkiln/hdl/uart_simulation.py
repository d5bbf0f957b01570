"""A whole design behind its serial port, as compiled code: bytes in, bytes out, every bit of them on the line.

RTL, netlist and what a bitstream holds all look the same from here, so one driver and one golden model serve them all.
The host program (`Device`) talks to a `UartSimulation` as it does to a port.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from ._artefacts import built, default_cache_folder
from .board_top import HostedAccelerator
from .bundle import Bundle
from .harness import CXX_ARGUMENTS, CXX_FLAGS, cxxrtl_headers
from .rendering import rendered
from .toolchain import CXX, YOSYS

READ_BYTES = 1 << 16
START_CYCLES = 4096  # a board holds its reset for 15 microseconds; a host comes later
IDLE_BITS = 30  # three silent byte times end an answer


class _Exchange(ctypes.Structure):
    _fields_ = (
        ("to_send", ctypes.c_char_p),
        ("send_count", ctypes.c_int64),
        ("sent", ctypes.c_int64),
        ("received", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("received_count", ctypes.c_int64),
        ("max_cycles", ctypes.c_int64),
        ("idle_cycles", ctypes.c_int64),
        ("cycles", ctypes.c_int64),
    )


@dataclass(frozen=True)
class UartDesign:
    """What is simulated: `commands` are yosys' and leave a module `top` with these ports; `files` are what they read.

    A design without a reset starts from its initial values.
    """

    files: Bundle
    commands: tuple[str, ...]
    clock: str
    rx: str
    tx: str
    reset: str = ""

    @classmethod
    def of(cls, hosted: HostedAccelerator) -> UartDesign:
        """Return the design as it is written, before any synthesis."""
        text = rtlil.convert(hosted, name="top", emit_src=False)
        files = Bundle.of({"top.il": text.encode()})
        return cls(files, ("read_rtlil top.il", "hierarchy -top top"), "clk", "rx", "tx", "rst")


class UartSimulation:
    """A design, compiled and switched on. Each `read` advances it by at most `patience_cycles`.

    The library is kept in `cache_folder` (default: ~/.cache/bitkiln/sim). `cycles` counts since it was switched on.
    Raises `missing-tool`, `tool-failed` and `cannot-write`.

        simulation = UartSimulation(UartDesign.of(hosted), bit_cycles=12)
        Device(simulation, timeout_s=0).infer(codes)
    """

    def __init__(
        self,
        design: UartDesign,
        bit_cycles: int,
        *,
        patience_cycles: int = 1_000_000,
        cache_folder: Path | None = None,
        cxx_flags: tuple[str, ...] = CXX_FLAGS,
    ) -> None:
        self.bit_cycles = bit_cycles
        self.patience_cycles = patience_cycles
        self.cycles = 0
        self._library = ctypes.CDLL(str(_compiled(design, cache_folder or default_cache_folder(), cxx_flags)))
        self._library.uart_create.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._library.uart_create(bit_cycles))
        self._to_send = b""
        self.run(START_CYCLES)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._library.uart_destroy(self._handle)

    def write(self, data: bytes, /) -> None:
        """Queue `data`; it goes out, back to back, while the next `read` waits."""
        self._to_send += data

    def read(self, size: int, /) -> bytes:
        """Return what came, at most `size` bytes: until the line is silent after them, or patience ends."""
        return self.run(self.patience_cycles, size)

    def run(self, max_cycles: int, size: int = READ_BYTES) -> bytes:
        """Like `read`, for at most so many cycles; what could not be sent in them stays queued."""
        room = ctypes.create_string_buffer(size)
        exchange = _Exchange(
            self._to_send,
            len(self._to_send),
            0,
            ctypes.addressof(room),
            size,
            0,
            max_cycles,
            IDLE_BITS * self.bit_cycles,
        )
        self._library.uart_run(self._handle, ctypes.byref(exchange))
        self._to_send = self._to_send[exchange.sent :]
        self.cycles += exchange.cycles
        return room.raw[: exchange.received_count]

    def reset(self, cycles: int = 2) -> None:
        """Hold the design's reset for so many cycles, in the middle of whatever it does."""
        self._library.uart_reset(self._handle, ctypes.c_int64(cycles))


def _compiled(design: UartDesign, cache_folder: Path, cxx_flags: tuple[str, ...]) -> Path:
    names = {"clock": design.clock, "rx": design.rx, "tx": design.tx, "reset": design.reset}
    driver = rendered("bench/uart_driver.cpp.j2", {role: _mangled(name) for role, name in names.items()})
    script = "".join(f"{command}\n" for command in (*design.commands, "write_cxxrtl -g0 design.cc"))
    bundle = design.files.merged(Bundle.of({"driver.cpp": driver.encode(), "simulate.ys": script.encode()}))
    arguments = (*CXX_ARGUMENTS, *cxx_flags)

    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-s", "simulate.ys"), folder)
        CXX.run((*arguments, f"-I{cxxrtl_headers()}", "driver.cpp", "-o", "simulation.so"), folder)
        return folder / "simulation.so"

    return built(cache_folder, bundle, (YOSYS.version(), *arguments, CXX.version()), ".so", build)


def _mangled(name: str) -> str:
    """Return CXXRTL's C++ name of a port: underlines are doubled."""
    return f"p_{name.replace('_', '__')}" if name else ""
