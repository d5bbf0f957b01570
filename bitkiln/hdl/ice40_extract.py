"""From the bits of an iCE40 bitstream back to a netlist of the cells that they set up, to be simulated like any other.

Reads what `iceunpack` makes of the final file. Starting from the pins that the design drives, each wire is followed
through the switches that are on to the cell that drives it: what is not reached has no effect on a pin.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError, fail

from .ice40_chipdb import Bel, ChipDatabase

# Which of a logic cell's 20 bits is which entry of its table; the others are named below.
_TABLE = (4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)
_HAS_CARRY, _HAS_REGISTER, _SETS, _IS_ASYNCHRONOUS = 8, 9, 18, 19
_SECTION = re.compile(r"^\.(\w+) (\d+) (\d+)(?: (\d+))?\n((?:[0-9a-f]+\n)*)", re.MULTILINE)
_SET_IO = re.compile(r"^set_io\s+(?:--?\S+\s+)*(\S+)\s+(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Bits:
    """A bitstream as text, taken apart: rows of bits by tile, contents of block RAMs, extra bits."""

    tiles: dict[tuple[int, int], tuple[str, ...]]
    memories: dict[tuple[int, int], tuple[str, ...]]
    extra: frozenset[tuple[int, int, int]]

    @classmethod
    def of(cls, text: str) -> Bits:
        tiles, memories, extra = {}, {}, set()
        for kind, first, second, third, rows in _SECTION.findall(text):
            place = int(first), int(second)
            if kind == "ram_data":
                memories[place] = tuple(rows.split())
            elif kind == "extra_bit":
                extra.add((*place, int(third)))
            elif kind.endswith("_tile"):
                tiles[place] = tuple(rows.split())
        return cls(tiles, memories, frozenset(extra))


def extract(text: str, constraints: str, device: str, package: str) -> str:
    """Return the netlist, Verilog, of the bitstream `text` (iceunpack's) of a chip; `constraints` (.pcf) name its pins.

    Raises `cannot-extract` for multiplier blocks, large RAMs, PLLs and registered pins, and `bad-bitstream` if two
    cells drive one wire.
    """
    database = ChipDatabase(device)
    return _Extraction(Bits.of(text), database, _pads(constraints, database.package_pins(package))).verilog()


def _pads(constraints: str, pins: dict[str, int]) -> dict[int, str]:
    """Return the name of the port at each bel."""
    return {pins[pin]: name for name, pin in _SET_IO.findall(constraints)}


class _Wiring:
    """Which wire drives which, by the switches that are on."""

    def __init__(self, bits: Bits, database: ChipDatabase) -> None:
        pips, switches = database.pips, database.switches
        is_on = _switch_values(bits, switches)[pips["switch"]] == pips["value"]
        # The pips of a LUT are its table's and stand for inputs that may change places.
        of_lut = switches["bel"][pips["switch"]] >= 0
        self._lut_pips = pips[of_lut]
        on = pips[is_on & ~of_lut]
        self.driver: dict[int, int] = {}
        for source, target in zip(on["source"].tolist(), on["target"].tolist(), strict=True):
            if self.driver.setdefault(target, source) != source:
                raise fail("bad-bitstream", f"two wires, {source} and {self.driver[target]}, drive wire {target}")

    @cached_property
    def lut_inputs(self) -> dict[int, list[int]]:
        """By input of a LUT: the wires that could be it."""
        found: dict[int, list[int]] = {}
        for source, target in zip(self._lut_pips["source"].tolist(), self._lut_pips["target"].tolist(), strict=True):
            found.setdefault(target, []).append(source)
        return found


def _switch_values(bits: Bits, switches: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the number that each switch's bits make."""
    values = np.full(len(switches), -1, np.int64)
    tile = switches["x"].astype(np.int64) * 256 + switches["y"]
    for place in np.unique(tile).tolist():
        rows = bits.tiles.get(divmod(place, 256))
        if rows is None:
            continue
        grid = np.array([[int(bit) for bit in row] for row in rows], np.int64)
        here = np.flatnonzero(tile == place)
        places, count = switches["places"][here], switches["bits"][here]
        found = np.zeros(len(here), np.int64)
        for bit in range(places.shape[1]):
            is_used = bit < count
            value = grid[places[:, bit, 0] * is_used, places[:, bit, 1] * is_used]
            found = np.where(is_used, found * 2 + value, found)
        values[here] = found
    return values


class _Extraction:
    """Cells are written when something reads them."""

    def __init__(self, bits: Bits, database: ChipDatabase, pads: dict[int, str]) -> None:
        self._bits = bits
        self._database = database
        self._wiring = _Wiring(bits, database)
        self._ports = {(bel.x, bel.y, bel.z): name for i, name in pads.items() for bel in (database.bels[i],)}
        # A global network belongs to its buffer, though pads and oscillators beside it have a pin there too.
        in_order = sorted(database.bels, key=lambda bel: bel.kind == "gb")
        self._owner = {wire: (bel, pin) for bel in in_order for pin, wire in bel.outputs.items()}
        self._text: list[str] = []
        self._nets: dict[int, str] = {}
        self._waiting: list[Callable[[], None]] = []
        self._count = 0

    def verilog(self) -> str:
        ports = []
        for place, name in sorted(self._ports.items(), key=lambda item: item[1]):
            (bel,) = (bel for bel in self._database.bels if bel.kind == "io" and (bel.x, bel.y, bel.z) == place)
            pin_type = self._pin_type(bel)
            is_output = pin_type >> 4 != 0
            ports.append(f"  {'output' if is_output else 'input'} {name};\n")
            if is_output:
                self._drive(bel, name, pin_type)
        while self._waiting:
            self._waiting.pop()()
        names = ", ".join(sorted(self._ports.values()))
        return f"module top({names});\n{''.join(ports)}{''.join(self._text)}endmodule\n"

    def _drive(self, bel: Bel, name: str, pin_type: int) -> None:
        match pin_type >> 2:
            case 0b0110:
                self._text.append(f"  assign {name} = {self._input(bel, 'D_OUT_0')};\n")
            case 0b1010:
                enable = self._input(bel, "OUTPUT_ENABLE", "1'b1")
                self._text.append(f"  assign {name} = {enable} ? {self._input(bel, 'D_OUT_0')} : 1'b1;\n")
            case _:
                raise _cannot(f"pin {name} has a register")

    def _input(self, bel: Bel, pin: str, default: str = "1'b0") -> str:
        return self._net(bel.inputs[pin], default)

    def _net(self, wire: int, default: str = "1'b0") -> str:
        """Return the name of what drives a wire; `default` if nothing does."""
        net = wire
        while net not in self._owner and net in self._wiring.driver:
            net = self._wiring.driver[net]
        if net not in self._owner:
            return default
        if net not in self._nets:
            self._nets[net] = f"n{net}"
            self._text.append(f"  wire n{net};\n")
            bel, pin = self._owner[net]
            self._waiting.append(lambda: self._write(bel, pin, f"n{net}"))
        return self._nets[net]

    def _write(self, bel: Bel, pin: str, name: str) -> None:
        match bel.kind:
            case "lc":
                self._logic(bel, pin, name)
            case "io":
                self._pad(bel, pin, name)
            case "gb":
                self._buffer(bel, name)
            case "ram":
                self._memory(bel, pin, name)
            case _:
                raise _cannot(f"a cell of the kind {bel.kind} is used")

    def _logic(self, bel: Bel, pin: str, name: str) -> None:
        bits = self._setting(bel.x, bel.y, f"LC_{bel.z}")
        if pin == "COUT":
            if not bits[_HAS_CARRY]:
                self._text.append(f"  assign {name} = 1'b0;\n")
                return
            carry_in = f"1'b{self._setting(bel.x, bel.y, 'CarryInSet')[0]}" if bel.z == 0 else "1'b0"
            carry_in = self._input(bel, "CIN", carry_in)
            self._cell("SB_CARRY", CO=name, I0=self._table_input(bel, 1), I1=self._table_input(bel, 2), CI=carry_in)
            return
        has_register = pin == "O" and bits[_HAS_REGISTER]
        result = f"{name}_d" if has_register else name
        if has_register:
            self._text.append(f"  wire {result};\n")
            self._register(bel, bits, result, name)
        table = sum(bits[place] << entry for entry, place in enumerate(_TABLE))
        inputs = {f"I{i}": self._table_input(bel, i) for i in range(4)}
        self._cell(f"SB_LUT4 #(.LUT_INIT(16'h{table:04x}))", O=result, **inputs)

    def _register(self, bel: Bel, bits: list[int], data: str, name: str) -> None:
        reset = self._input(bel, "SR", "")
        kind = "SB_DFFN" if self._setting(bel.x, bel.y, "NegClk")[0] else "SB_DFF"
        pins = {"Q": name, "D": data, "C": self._input(bel, "CLK"), "E": self._input(bel, "CEN", "1'b1")}
        way = ("S" if bits[_SETS] else "R") if reset else ""
        is_synchronous = "S" if reset and not bits[_IS_ASYNCHRONOUS] else ""
        self._cell(f"{kind}E{is_synchronous}{way}", **pins, **({way: reset} if reset else {}))

    def _table_input(self, bel: Bel, index: int) -> str:
        """The physical input of a LUT: the database lets the inputs change places, the table says how they do not."""
        sources = sorted(self._wiring.lut_inputs[bel.inputs[f"I{index}"]])
        (wire,) = (wire for wire in sources if self._database.wire_name(wire).endswith(f"in_{index}"))
        return self._net(wire)

    def _pad(self, bel: Bel, pin: str, name: str) -> None:
        port = self._ports.get((bel.x, bel.y, bel.z), "1'b0")
        if pin != "D_IN_0" or self._pin_type(bel) & 3 != 1:
            raise _cannot(f"pin {port} has a register")
        self._text.append(f"  assign {name} = {port};\n")

    def _buffer(self, bel: Bel, name: str) -> None:
        pad, extra = self._database.pad_inputs[bel.x, bel.y]
        source = self._ports[pad] if extra in self._bits.extra else self._input(bel, "USER_SIGNAL_TO_GLOBAL_BUFFER")
        self._text.append(f"  assign {name} = {source};\n")

    def _memory(self, bel: Bel, pin: str, name: str) -> None:
        place = bel.x, bel.y
        cell = f"ram_{bel.x}_{bel.y}"
        self._text.append(f"  assign {name} = {cell}[{int(pin.rpartition('_')[2])}];\n")
        if any(line == f"  wire [15:0] {cell};\n" for line in self._text):
            return
        self._text.append(f"  wire [15:0] {cell};\n")
        mode = [self._setting(bel.x, bel.y + 1, f"RamConfig.CBIT_{bit}")[0] for bit in range(4)]
        if self._setting(bel.x, bel.y, "NegClk")[0] or self._setting(bel.x, bel.y + 1, "NegClk")[0]:
            raise _cannot("a block RAM works on the falling edge")
        contents = self._bits.memories.get(place, ("0",) * 16)
        init = ", ".join(f".INIT_{i:X}(256'h{row})" for i, row in enumerate(contents))
        modes = f".WRITE_MODE({mode[0] + 2 * mode[1]}), .READ_MODE({mode[2] + 2 * mode[3]})"
        widths = {"MASK": 16, "WDATA": 16, "WADDR": 11, "RADDR": 11}
        buses = {
            bus: "{" + ", ".join(self._input(bel, f"{bus}_{bit}") for bit in reversed(range(width))) + "}"
            for bus, width in widths.items()
        }
        single = {each: self._input(bel, each) for each in ("WCLK", "WE", "RCLK", "RE")}
        enables = {each: self._input(bel, each, "1'b1") for each in ("WCLKE", "RCLKE")}
        self._cell(f"SB_RAM40_4K #({modes}, {init})", RDATA=cell, **buses, **single, **enables)

    def _cell(self, kind: str, **pins: str) -> None:
        self._count += 1
        connected = ", ".join(f".{pin}({net})" for pin, net in pins.items())
        self._text.append(f"  {kind} c{self._count} ({connected});\n")

    def _pin_type(self, bel: Bel) -> int:
        return sum(self._setting(bel.x, bel.y, f"IOB_{bel.z}.PINTYPE_{bit}")[0] << bit for bit in range(6))

    def _setting(self, x: int, y: int, name: str) -> list[int]:
        places = self._database.settings[self._database.tile_types[y, x]][name]
        rows = self._bits.tiles[x, y]
        return [int(rows[row][column]) for row, column in places.tolist()]


def _cannot(what: str) -> ToolError:
    hint = "build without multiplier blocks (--no-dsp) and at the board's own clock, or verify the netlist"
    return fail("cannot-extract", f"this bitstream cannot be read back: {what}", hint=hint)
