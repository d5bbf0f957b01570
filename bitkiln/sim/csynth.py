"""Reads the synthesis report of Vitis HLS (`csynth.xml`, `TOP_csynth.xml`), to stand beside our prediction.

The layout is that of Vivado HLS 2019 and its successors: the unified flow of 2023 moved the file, to hls/syn/report/,
not what is in it. No Vitis was there when this was written: it follows what public readers of such reports agree on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bitkiln.ir import ToolError, fail

_MOST_BYTES = 64 << 20
_UNKNOWN = ("", "undef", "?", "-", "N/A", "NA")
# The names of the device's blocks before and after 2020.
_DSP = ("DSP", "DSP48E", "DSP48")
_UNSAID = "-"
_SHOWN = {"lut": "LUT", "ff": "flip-flops", "dsp": "DSP", "bram_18k": "block RAMs, 18 kbit", "uram": "UltraRAMs"}

Rows = list[tuple[str, str, str]]


@dataclass(frozen=True)
class HlsResources:
    """What HLS estimates, or what the part has; a block RAM holds 18 kbit. None where the report says nothing."""

    lut: int | None
    ff: int | None
    dsp: int | None
    bram_18k: int | None
    uram: int | None


@dataclass(frozen=True)
class Csynth:
    """One report. Latency and interval are clock cycles, (least, most), None where HLS does not know ("undef").

    `estimated_ns` is the clock that HLS expects to reach, before its uncertainty is added.
    """

    top: str
    part: str
    version: str
    target_ns: float | None
    estimated_ns: float | None
    latency_cycles: tuple[int | None, int | None]
    interval_cycles: tuple[int | None, int | None]
    used: HlsResources
    available: HlsResources

    @property
    def fmax_mhz(self) -> float | None:
        return 1e3 / self.estimated_ns if self.estimated_ns else None


def read_csynth(file: Path) -> Csynth:
    """Read a report. Raises ToolError `missing-file` and `bad-csynth`."""
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        hint = "Vitis HLS writes it as SOLUTION/syn/report/TOP_csynth.xml or hls/syn/report/csynth.xml"
        raise fail("missing-file", f"{file} cannot be read: {error.strerror}", hint=hint) from None
    if size > _MOST_BYTES:
        raise _bad(file, f"it has {size:,} bytes, more than {_MOST_BYTES:,}")
    return parse_csynth(data, file)


def parse_csynth(data: bytes, file: Path) -> Csynth:
    """Return the report in `data`, which came from `file`. Raises ToolError `bad-csynth`."""
    root = _root(data, file)
    latency, timing = "PerformanceEstimates/SummaryOfOverallLatency", "PerformanceEstimates/SummaryOfTimingAnalysis"
    report = _Report(root, file)
    found = Csynth(
        top=report.text("UserAssignments/TopModelName"),
        part=report.text("UserAssignments/Part"),
        version=report.text("ReportVersion/Version"),
        target_ns=report.decimal("UserAssignments/TargetClockPeriod"),
        estimated_ns=report.decimal(f"{timing}/EstimatedClockPeriod"),
        latency_cycles=(report.count(f"{latency}/Best-caseLatency"), report.count(f"{latency}/Worst-caseLatency")),
        interval_cycles=(report.count(f"{latency}/Interval-min"), report.count(f"{latency}/Interval-max")),
        used=report.resources("AreaEstimates/Resources"),
        available=report.resources("AreaEstimates/AvailableResources"),
    )
    if root.find(latency) is None or root.find("AreaEstimates/Resources") is None:
        missing = latency if root.find(latency) is None else "AreaEstimates/Resources"
        raise _bad(file, f"it is no synthesis report: <{root.tag}> has no {missing}")
    return found


def _root(data: bytes, file: Path) -> ElementTree.Element:
    """Parse without entities: a report has no document type, and one that declares entities means no good."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise _bad(file, "it declares a document type, which no report does")
    try:
        text = data.decode("utf-8-sig")
        return ElementTree.fromstring(text.partition("?>")[2] if text.startswith("<?xml") else text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise _bad(file, str(error)) from None


@dataclass(frozen=True)
class _Report:
    root: ElementTree.Element
    file: Path

    def text(self, path: str) -> str:
        found = self.root.find(path)
        return (found.text or "").strip() if found is not None else ""

    def count(self, path: str) -> int | None:
        text = self.text(path)
        if text in _UNKNOWN:
            return None
        if not (text.isascii() and text.isdigit()):
            raise _bad(self.file, f"{path} is no number: {text[:80]!r}")
        return int(text)

    def decimal(self, path: str) -> float | None:
        text = self.text(path)
        if text in _UNKNOWN:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value < 1e9:
            raise _bad(self.file, f"{path} is no time in ns: {text[:80]!r}")
        return value

    def resources(self, path: str) -> HlsResources:
        dsp = [self.count(f"{path}/{name}") for name in _DSP]
        return HlsResources(
            lut=self.count(f"{path}/LUT"),
            ff=self.count(f"{path}/FF"),
            dsp=next((count for count in dsp if count is not None), None),
            bram_18k=self.count(f"{path}/BRAM_18K"),
            uram=self.count(f"{path}/URAM"),
        )


def _bad(file: Path, what: str) -> ToolError:
    hint = "give the XML that csynth wrote: SOLUTION/syn/report/TOP_csynth.xml, or hls/syn/report/csynth.xml"
    return fail("bad-csynth", f"{file} cannot be read: {what}", hint=hint)


def csynth_rows(found: Csynth, latency: int | None, interval: int | None, clock_mhz: float | None) -> Rows:
    """Return what HLS says and what we predict of the RTL, for people: (what, HLS, bitkiln)."""
    fmax = f"{found.fmax_mhz:.1f} estimated" if found.fmax_mhz else _UNSAID
    rows: Rows = [
        ("latency, cycles", _span(found.latency_cycles), _shown(latency)),
        ("interval, cycles", _span(found.interval_cycles), _shown(interval)),
        ("clock, MHz", fmax, f"{clock_mhz:g}" if clock_mhz else _UNSAID),
    ]
    for name, shown in _SHOWN.items():
        used, available = (_shown(getattr(side, name)) for side in (found.used, found.available))
        rows.append((shown, f"{used} of {available}", _UNSAID))
    return rows


def _shown(value: int | None) -> str:
    return _UNSAID if value is None else f"{value:,}"


def _span(ends: tuple[int | None, int | None]) -> str:
    least, most = (_shown(end) for end in ends)
    return least if least == most else f"{least} to {most}"
