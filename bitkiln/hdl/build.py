"""From a design to a bitstream that fits its board and meets its clock, or to an error that says what would.

A build is a function of the bundle, the tools' versions and their options: its result is kept under the
digest of these, and the same design built twice gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from amaranth.lib import wiring

from bitkiln.boards import BOARDS, Board, Resource, Resources
from bitkiln.ir import ToolError, fail

from .board_top import board_bundle
from .bundle import Bundle
from .family_tools import NETLIST, FamilyTools, family_tools
from .protocol import Identity
from .toolchain import YOSYS, ToolResult

REPORT = "build.json"
_SCRIPTS = {True: "synthesis.ys", False: "synthesis_no_dsp.ys"}
_NAMES = {
    Resource.LUT: "logic cells (LUT)",
    Resource.FF: "flip-flops (FF)",
    Resource.BRAM: "block RAMs (BRAM)",
    Resource.DSP: "multipliers (DSP)",
    Resource.SPRAM: "large RAMs (SPRAM)",
}
_UTILISATION = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*\d+\s+\d+%", re.MULTILINE)


@dataclass(frozen=True)
class BuildResult:
    """A bitstream and what it costs. `file_name` is "top.bin" for iCE40, "top.bit" for ECP5 and "top.fs" for Gowin.

    `netlist` is the synthesised one, Verilog of the family's cells; `routed` is what the packer got.

    `fmax_mhz` is nextpnr's. On iCE40 it takes every multiplier block for one with registers at both ends,
    as our units have them: a path through an unregistered one is not seen. `caveat` says what else it does not see.
    `record` is what `bitkiln.hdl.patch` needs to put other weights into the bitstream, if it can.
    """

    bitstream: bytes
    file_name: str
    netlist: bytes
    routed: bytes
    used: Resources
    available: Resources
    fmax_mhz: float
    clock_mhz: float
    design_digest: str
    tool_versions: tuple[str, ...]
    is_cached: bool
    caveat: str = ""
    record: bytes = b""


def default_cache() -> Path:
    """Return the folder of finished builds: $XDG_CACHE_HOME/bitkiln, or ~/.cache/bitkiln."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "bitkiln"


def build(
    accelerator: wiring.Component,
    identity: Identity,
    board: Board,
    *,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    use_dsp: bool = True,
    must_meet_clock: bool = True,
) -> BuildResult:
    """Build `accelerator` with its host link for `board`; `on_step` hears what begins.

    Without `use_dsp` all multipliers are made of LUTs; without `must_meet_clock` a design that misses its clock is a
    result, too. Finished builds are taken from and kept in the folder `cache` (None: `default_cache`). Raises
    `does-not-fit`, `misses-clock`, `missing-tool`, `tool-failed`, `wrong-baud`, `cannot-write`.
    """
    design = board_bundle(accelerator, identity, board)
    return build_bundle(design, board, cache=cache, on_step=on_step, use_dsp=use_dsp, must_meet_clock=must_meet_clock)


def build_bundle(
    design: Bundle,
    board: Board,
    *,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    use_dsp: bool = True,
    must_meet_clock: bool = True,
) -> BuildResult:
    """Build a bundle that `board_bundle` made for `board`. Raises like `build`."""
    tools = family_tools(board)
    inputs = _inputs(design, tools)
    versions = tuple(tool.version() for tool in (YOSYS, tools.place_route, tools.pack))
    entry = (default_cache() if cache is None else cache) / "builds" / _key(inputs, tools, board, versions, use_dsp)
    product = Bundle.read(entry)
    is_cached = product is not None
    if product is None:
        product = _Build(inputs, tools, board, on_step, use_dsp).run()
        _keep(product, entry)
    numbers = json.loads(product[REPORT])
    used = Resources(**numbers["used"])
    result = BuildResult(
        bitstream=product[tools.bitstream],
        file_name=tools.bitstream,
        netlist=product[NETLIST],
        routed=product[tools.routed[-1]],
        used=used,
        available=board.resources,
        fmax_mhz=numbers["fmax_mhz"],
        clock_mhz=board.clock_hz / 1e6,
        design_digest=design.digest(),
        tool_versions=versions,
        is_cached=is_cached,
        caveat=tools.caveat(used),
    )
    if must_meet_clock and result.fmax_mhz < result.clock_mhz:
        raise misses_clock(result, board)
    return result


def synthesise_bundle(
    design: Bundle,
    board: Board,
    *,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> bytes:
    """Return the netlist of a bundle that `board_bundle` made for `board`: what `build_bundle` places and routes.

    It is kept in `cache` beside the builds. Raises `does-not-fit`, `missing-tool`, `tool-failed`.
    """
    tools = family_tools(board)
    inputs = _inputs(design, tools)
    key = _key(inputs, tools, board, (YOSYS.version(),), use_dsp=True)
    entry = (default_cache() if cache is None else cache) / "netlists" / key
    product = Bundle.read(entry)
    if product is None:
        product = _Build(inputs, tools, board, on_step, use_dsp=True).synthesised()
        _keep(product, entry)
    return product[NETLIST]


def _inputs(design: Bundle, tools: FamilyTools) -> Bundle:
    scripts = {name: tools.script(has_dsp).encode() for has_dsp, name in _SCRIPTS.items()}
    return design.merged(Bundle.of(scripts)).merged(tools.files)


def _key(inputs: Bundle, tools: FamilyTools, board: Board, versions: tuple[str, ...], use_dsp: bool) -> str:
    options = (*tools.place_route_arguments(board), *tools.pack_arguments, _SCRIPTS[use_dsp])
    text = json.dumps([inputs.digest(), versions, options])
    return hashlib.sha256(text.encode()).hexdigest()


def _keep(product: Bundle, entry: Path) -> None:
    if entry.exists():
        shutil.rmtree(entry)  # it is ours, and it is damaged
    product.write(entry)


@dataclass(frozen=True)
class _Build:
    """One run of the tools, in a folder that is gone afterwards."""

    inputs: Bundle
    tools: FamilyTools
    board: Board
    on_step: Callable[[str], None]
    use_dsp: bool

    def synthesised(self) -> Bundle:
        with tempfile.TemporaryDirectory(prefix="bitkiln-build-") as temporary:
            folder = self.inputs.write(Path(temporary) / "build")
            self._synthesise(folder)
            return Bundle.of({NETLIST: (folder / NETLIST).read_bytes()})

    def run(self) -> Bundle:
        with tempfile.TemporaryDirectory(prefix="bitkiln-build-") as temporary:
            folder = self.inputs.write(Path(temporary) / "build")
            least = self._synthesise(folder)
            used, fmax_mhz = self._place_and_route(folder, least)
            self.on_step("pack")
            self.tools.pack.run(self.tools.pack_arguments, folder)
            names = (self.tools.bitstream, NETLIST, self.tools.routed[-1])
            files = {name: (folder / name).read_bytes() for name in names}
        report = json.dumps({"fmax_mhz": fmax_mhz, "used": asdict(used)}, indent=1, sort_keys=True)
        return Bundle.of(files | {REPORT: report.encode()})

    def _synthesise(self, folder: Path) -> Resources:
        """Return what the netlist needs at least; its multipliers are DSPs if there are enough of them."""
        least = self._run_yosys(folder, has_dsp=self.use_dsp)
        missing = least.missing(self.board.resources)
        if missing == (Resource.DSP,):
            in_luts = self._run_yosys(folder, has_dsp=False)
            if not in_luts.fits(self.board.resources):
                raise _does_not_fit(least, self.board, in_luts)
            return in_luts
        if missing:
            raise _does_not_fit(least, self.board)
        return least

    def _run_yosys(self, folder: Path, *, has_dsp: bool) -> Resources:
        self.on_step("synthesis" if has_dsp else "synthesis with multipliers in LUTs")
        YOSYS.run(("-q", "-s", _SCRIPTS[has_dsp]), folder)
        statistics = json.loads((folder / "stat.json").read_text())
        return self.tools.least(statistics["design"]["num_cells_by_type"])

    def _place_and_route(self, folder: Path, least: Resources) -> tuple[Resources, float]:
        self.on_step("place and route")
        tool = self.tools.place_route
        outcome = tool.run(self.tools.place_route_arguments(self.board), folder, check=False)
        if outcome.returncode != 0:
            raise self._why_it_failed(outcome, least)
        report = json.loads((folder / "report.json").read_text())
        bels = {bel: counts["used"] for bel, counts in report["utilization"].items()}
        fmax_mhz = min(clock["achieved"] for clock in report["fmax"].values())
        wanted_mhz = self.board.clock_hz / 1e6
        # nextpnr works a PLL's clock out of its dividers itself.
        asked = {round(clock.get("constraint", wanted_mhz) / wanted_mhz, 2) for clock in report["fmax"].values()}
        assert asked == {1}, f"nextpnr was asked for another clock than {wanted_mhz} MHz: {report['fmax']}"
        return self.tools.used(bels, least), round(fmax_mhz, 2)

    def _why_it_failed(self, outcome: ToolResult, least: Resources) -> ToolError:
        """Packing adds cells: nextpnr prints how many it needs before it finds that they do not fit."""
        bels = {name: int(count) for name, count in _UTILISATION.findall(outcome.log)}
        needed = self.tools.used(bels, least)
        if not needed.fits(self.board.resources):
            return _does_not_fit(needed, self.board)
        return self.tools.place_route.failure(outcome)


def _amount(kind: Resource, needed: Resources, board: Board) -> str:
    available = board.resources[kind]
    return f"{needed[kind]} {_NAMES[kind]}, but there are {available}"


def _does_not_fit(needed: Resources, board: Board, in_luts: Resources | None = None) -> ToolError:
    """Say what is short and what would fit; `in_luts` is the need if every multiplier is made of LUTs."""
    missing = needed.missing(board.resources)
    message = f"the design does not fit on {board.title}: it needs "
    message += " and ".join(_amount(kind, needed, board) for kind in missing)
    if in_luts:
        also = " and ".join(_amount(kind, in_luts, board) for kind in in_luts.missing(board.resources))
        message += f"; with its multipliers in LUTs it needs {also}"
    percent = min(100 * board.resources[kind] // needed[kind] for kind in missing)
    if missing == (Resource.BRAM,):  # any folding needs room for all weights
        hints = [f"take fewer weights, or fewer bits for each, until they take {percent} % of this"]
        hints.append("lower PE or SIMD, if that makes wide memories narrow and deep")
    else:
        hints = [f"lower PE or SIMD of the largest layers until they take {percent} % of this"]
        if Resource.BRAM in missing:
            hints.append("give the weights fewer bits")
    larger = [other.name for other in BOARDS if needed.fits(other.resources)]
    if larger:
        hints.append(f"choose a larger board: {', '.join(larger)}")
    return fail("does-not-fit", message, hint="; or ".join(hints))


def misses_clock(result: BuildResult, board: Board) -> ToolError:
    """Return the error of a design that does not run at the board's clock."""
    message = (
        f"the design misses its clock on {board.title}: it needs {result.clock_mhz:g} MHz, "
        f"but it runs at {result.fmax_mhz:g} MHz at most"
    )
    hint = "lower PE or SIMD of the widest layers, whose wires and multiplexers are the longest"
    return fail("misses-clock", message, hint=hint)
