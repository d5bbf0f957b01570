"""How each family of devices gets from RTLIL to a bitstream: which tools, with which options, counting which cells.

The differences are data; bitkiln/hdl/build.py is the one procedure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from bitkiln.boards import Board, Family, Resource, Resources

from .board_top import CONSTRAINTS
from .bundle import TOP, Bundle
from .ice40_dsp import COARSE_WITH_DSP
from .ice40_memory import bram_map
from .toolchain import ECPPACK, GOWIN_PACK, ICEPACK, NEXTPNR_ECP5, NEXTPNR_GOWIN, NEXTPNR_ICE40, Tool
from .units import MEMORY_PREFIX

NETLIST = "netlist.v"
_BRAM_MAP = "ice40_memory.v"
# Of some memories no word is read while it is written: yosys need not add what would tell the old word from the new.
_NO_COLLISIONS = (f"setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:MEMID=\\{MEMORY_PREFIX}* %i",)


@dataclass(frozen=True)
class CellCount:
    """Each cell whose type is `cell`, or begins with it in yosys' netlist, takes `each` of `kind`."""

    cell: str
    kind: Resource
    each: int = 1


@dataclass(frozen=True)
class FamilyTools:
    """The tools of a family.

    `synthesis` are yosys' commands, `synthesis_in_luts` those that make multipliers of LUTs; `files` are what they
    read beside the design. `cells` are the types in yosys' netlist and give the least that the design
    needs, before packing; `bels` are nextpnr's names of the same kinds and give what it took. `routed` is the file
    between nextpnr and the packer, `bitstream` the last one. `untimed` are kinds through which nextpnr sees no delay.
    """

    synthesis: tuple[str, ...]
    synthesis_in_luts: tuple[str, ...]
    files: Bundle
    place_route: Tool
    constraints: tuple[str, ...]
    routed: tuple[str, str]
    pack: Tool
    pack_arguments: tuple[str, ...]
    bitstream: str
    cells: tuple[CellCount, ...]
    bels: tuple[CellCount, ...]
    untimed: tuple[Resource, ...] = ()

    def script(self, has_dsp: bool) -> str:
        """Return the yosys script; without DSPs the multipliers are made of LUTs."""
        lines = (
            f"read_rtlil {TOP}.il",
            *_NO_COLLISIONS,
            *(self.synthesis if has_dsp else self.synthesis_in_luts),
            f"write_json {TOP}.json",
            f"write_verilog -noattr {NETLIST}",
            "tee -q -o stat.json stat -json",
        )
        return "".join(f"{line}\n" for line in lines)

    def place_route_arguments(self, board: Board) -> tuple[str, ...]:
        # The seed makes it reproducible. A missed clock is our message to give, with what would help.
        fixed = ("--seed", "1", "--timing-allow-fail", "--report", "report.json", "--json", f"{TOP}.json")
        return (*board.nextpnr_arguments, *fixed, *self.constraints, *self.routed)

    def least(self, counts: Mapping[str, int]) -> Resources:
        """Return what the cells of a netlist take at least, given how many there are of each type."""
        totals = dict.fromkeys(Resource, 0)
        for cell, count in counts.items():
            for rule in self.cells:
                if cell.startswith(rule.cell):
                    totals[rule.kind] += rule.each * count
        return _resources(totals)

    def used(self, bels: Mapping[str, int], least: Resources) -> Resources:
        """Return what nextpnr took; of a kind that it does not count, what the netlist has."""
        counted = [rule for rule in self.bels if rule.cell in bels]
        totals = dict(least) | dict.fromkeys((rule.kind for rule in counted), 0)
        for rule in counted:
            totals[rule.kind] += rule.each * bels[rule.cell]
        return _resources(totals)

    def caveat(self, used: Resources) -> str:
        """Return what is to be said of nextpnr's Fmax of such a design, mostly nothing."""
        names = " and ".join(kind.value.upper() for kind in self.untimed if used[kind])
        what = f"nextpnr knows no delay of this family's {names} blocks: Fmax is without the paths through them"
        return what if names else ""


def _resources(totals: Mapping[Resource, int]) -> Resources:
    return Resources(**{kind.value: count for kind, count in totals.items()})


def family_tools(board: Board) -> FamilyTools:
    """Return the tools that build for `board`."""
    match board.family:
        case Family.ICE40:
            return _ice40(board)
        case Family.ECP5:
            return _ECP5
        case Family.GOWIN:
            return _gowin(board)
        case _ as unreachable:
            assert_never(unreachable)


def _ice40(board: Board) -> FamilyTools:
    # yosys calls the UltraPlus "u", the others by the first two letters of the device: "hx", "lp".
    device = "u" if board.device.startswith("u") else board.device[:2]
    synthesis = f"synth_ice40 -device {device} -top {TOP} -run"
    # All of synth_ice40, with our own map of block RAMs before yosys' map, which takes what ours leaves.
    memories = (
        "memory_libmap -lib +/ice40/brams.txt -lib +/ice40/spram.txt -no-auto-huge",
        f"techmap -map {_BRAM_MAP}",
        "techmap -map +/ice40/brams_map.v -map +/ice40/spram_map.v",
        "ice40_braminit",
        f"{synthesis} map_ffram:",
    )
    in_luts = (f"{synthesis} begin:map_ram", *memories)
    with_dsp = (f"{synthesis} begin:coarse", *COARSE_WITH_DSP, *memories)
    return FamilyTools(
        synthesis=with_dsp if board.resources.dsp else in_luts,
        synthesis_in_luts=in_luts,
        files=Bundle.of({_BRAM_MAP: bram_map().encode()}),
        place_route=NEXTPNR_ICE40,
        constraints=("--pcf", CONSTRAINTS[Family.ICE40]),
        routed=("--asc", f"{TOP}.asc"),
        pack=ICEPACK,
        pack_arguments=(f"{TOP}.asc", f"{TOP}.bin"),
        bitstream=f"{TOP}.bin",
        cells=(
            CellCount("SB_LUT4", Resource.LUT),
            CellCount("SB_DFF", Resource.FF),
            CellCount("SB_RAM40_4K", Resource.BRAM),
            CellCount("SB_MAC16", Resource.DSP),
            CellCount("SB_SPRAM256KA", Resource.SPRAM),
        ),
        bels=(
            CellCount("ICESTORM_LC", Resource.LUT),
            CellCount("ICESTORM_RAM", Resource.BRAM),
            CellCount("ICESTORM_DSP", Resource.DSP),
            CellCount("ICESTORM_SPRAM", Resource.SPRAM),
        ),
    )


_ECP5 = FamilyTools(
    # Wide multiplexers cost more LUTs than they save: host link 832 with them, 696 without, both above 100 MHz.
    synthesis=(f"synth_ecp5 -nowidelut -top {TOP}",),
    synthesis_in_luts=(f"synth_ecp5 -nowidelut -nodsp -top {TOP}",),
    files=Bundle.of({}),
    place_route=NEXTPNR_ECP5,
    constraints=("--lpf", CONSTRAINTS[Family.ECP5]),
    routed=("--textcfg", f"{TOP}.config"),
    pack=ECPPACK,
    pack_arguments=("--compress", "--input", f"{TOP}.config", "--bit", f"{TOP}.bit"),
    bitstream=f"{TOP}.bit",
    cells=(
        CellCount("LUT4", Resource.LUT),
        CellCount("CCU2C", Resource.LUT, 2),
        CellCount("TRELLIS_DPR16X4", Resource.LUT, 4),
        CellCount("TRELLIS_FF", Resource.FF),
        CellCount("DP16KD", Resource.BRAM),
        CellCount("PDPW16KD", Resource.BRAM),
        CellCount("MULT18X18D", Resource.DSP),
    ),
    bels=(
        CellCount("TRELLIS_COMB", Resource.LUT),
        CellCount("TRELLIS_FF", Resource.FF),
        CellCount("DP16KD", Resource.BRAM),
        CellCount("MULT18X18D", Resource.DSP),
    ),
)


def _gowin(board: Board) -> FamilyTools:
    # Wide multiplexers: the host link takes 905 LUTs and runs at 71 MHz with them, 757 and 89 without.
    synthesis = f"synth_gowin -family {board.chip[:4].lower()} -nowidelut -top {TOP}"
    multipliers = (
        CellCount("MULT9X9", Resource.DSP),
        CellCount("MULT18X18", Resource.DSP, 2),
        CellCount("MULT36X36", Resource.DSP, 8),
    )
    return FamilyTools(
        synthesis=(synthesis,),
        synthesis_in_luts=(f"{synthesis} -nodsp",),
        files=Bundle.of({}),
        place_route=NEXTPNR_GOWIN,
        constraints=("--vopt", f"cst={CONSTRAINTS[Family.GOWIN]}", "--freq", f"{board.clock_hz / 1e6:g}"),
        routed=("--write", f"{TOP}.pnr.json"),
        pack=GOWIN_PACK,
        # The pins of the flash, which some designs' own pins are, are the design's after the start.
        pack_arguments=("-d", board.chip, "--sspi_as_gpio", "--mspi_as_gpio", "-o", f"{TOP}.fs", f"{TOP}.pnr.json"),
        bitstream=f"{TOP}.fs",
        cells=(
            CellCount("LUT", Resource.LUT),
            CellCount("ALU", Resource.LUT),
            CellCount("RAM16SDP4", Resource.LUT, 8),
            CellCount("DFF", Resource.FF),
            *(CellCount(memory, Resource.BRAM) for memory in ("pROM", "SP", "SDP", "DP")),
            *multipliers,
        ),
        bels=(
            CellCount("LUT4", Resource.LUT),  # those that adders and memories take among them
            CellCount("DFF", Resource.FF),
            CellCount("BSRAM", Resource.BRAM),
            *multipliers,
        ),
        untimed=(Resource.DSP,),
    )
