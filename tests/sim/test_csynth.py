"""Synthesis reports of Vitis HLS: both generations of names, unknown numbers, and files that are none.

The reports are written after the layout that public readers take (hls4ml's among them); no Vitis was there to make one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.csynth import Csynth, HlsResources, csynth_rows, read_csynth
from bitkiln.sim.report import Report
from bitkiln.sim.report_page import render_html

REPORT = """\
<?xml version="1.0" encoding="UTF-8"?>
<profile>
<ReportVersion><Version>2023.2</Version></ReportVersion>
<UserAssignments>
  <unit>ns</unit>
  <ProductFamily>zynq</ProductFamily>
  <Part>xc7z020-clg400-1</Part>
  <TopModelName>lenet</TopModelName>
  <TargetClockPeriod>10.00</TargetClockPeriod>
  <ClockUncertainty>2.70</ClockUncertainty>
  <FlowTarget>vivado</FlowTarget>
</UserAssignments>
<PerformanceEstimates>
  <PipelineType>dataflow</PipelineType>
  <SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>7.300</EstimatedClockPeriod></SummaryOfTimingAnalysis>
  <SummaryOfOverallLatency>
    <unit>clock cycles</unit>
    <Best-caseLatency>5230</Best-caseLatency>
    <Average-caseLatency>5240</Average-caseLatency>
    <Worst-caseLatency>5251</Worst-caseLatency>
    <Best-caseRealTimeLatency>52.300 us</Best-caseRealTimeLatency>
    <Interval-min>4096</Interval-min>
    <Interval-max>4096</Interval-max>
  </SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
  <Resources><BRAM_18K>31</BRAM_18K><DSP>62</DSP><FF>10244</FF><LUT>14903</LUT><URAM>0</URAM></Resources>
  <AvailableResources><BRAM_18K>280</BRAM_18K><DSP>220</DSP><FF>106400</FF><LUT>53200</LUT><URAM>0</URAM></AvailableResources>
</AreaEstimates>
</profile>
"""
LENET = Csynth(
    top="lenet",
    part="xc7z020-clg400-1",
    version="2023.2",
    target_ns=10.0,
    estimated_ns=7.3,
    latency_cycles=(5230, 5251),
    interval_cycles=(4096, 4096),
    used=HlsResources(lut=14903, ff=10244, dsp=62, bram_18k=31, uram=0),
    available=HlsResources(lut=53200, ff=106400, dsp=220, bram_18k=280, uram=0),
)


def read(folder: Path, text: str | bytes) -> Csynth:
    file = folder / "csynth.xml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_csynth(file)


def test_a_report(tmp_path: Path) -> None:
    assert read(tmp_path, REPORT) == LENET
    assert LENET.fmax_mhz == pytest.approx(136.986, abs=1e-3)


def test_an_older_report(tmp_path: Path) -> None:
    """Vivado HLS called the multipliers DSP48E and said `undef` of what it did not know; there was no URAM."""
    older = REPORT.replace("DSP>", "DSP48E>").replace("<URAM>0</URAM>", "").replace(">2023.2<", ">2019.2<")
    older = re.sub(r"<(Worst-caseLatency|Interval-max)>\d+<", r"<\1>undef<", older)
    found = read(tmp_path, older)
    assert (found.version, found.used.dsp, found.available.dsp, found.used.uram) == ("2019.2", 62, 220, None)
    assert (found.latency_cycles, found.interval_cycles) == ((5230, None), (4096, None))


def test_rows_stand_beside_the_prediction() -> None:
    assert csynth_rows(LENET, 5000, 4096, 100.0) == [
        ("latency, cycles", "5,230 to 5,251", "5,000"),
        ("interval, cycles", "4,096", "4,096"),
        ("clock, MHz", "137.0 estimated", "100"),
        ("LUT", "14,903 of 53,200", "-"),
        ("flip-flops", "10,244 of 106,400", "-"),
        ("DSP", "62 of 220", "-"),
        ("block RAMs, 18 kbit", "31 of 280", "-"),
        ("UltraRAMs", "0 of 0", "-"),
    ]


def test_it_is_in_both_reports(full: Report) -> None:
    assert json.loads(full.to_json())["csynth"] is None
    assert "Vitis HLS" not in render_html(full)
    with_it = replace(full, csynth=LENET)
    found = json.loads(with_it.to_json())["csynth"]
    assert (found["top"], found["latency_cycles"], found["used"]["lut"]) == ("lenet", [5230, 5251], 14903)
    page = render_html(with_it)
    assert "<td>14,903 of 53,200</td>" in page
    assert full.design is not None
    assert f"<td>{full.design.latency_cycles:,}</td>" in page


BOMB = """\
<?xml version="1.0"?>
<!DOCTYPE profile [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>
<profile>&b;</profile>
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found: line 1, column 0"),
        (REPORT[:400], "unclosed token: line 13, column 0"),
        ("Vitis HLS report", "syntax error: line 1, column 0"),
        (BOMB, "it declares a document type, which no report does"),
        (REPORT.encode("utf-16"), "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (
            "<profile><a/></profile>",
            "it is no synthesis report: <profile> has no PerformanceEstimates/SummaryOfOverallLatency",
        ),
        (
            REPORT.replace("<Resources>", "<Resource>").replace("</Resources>", "</Resource>"),
            "it is no synthesis report: <profile> has no AreaEstimates/Resources",
        ),
        (
            REPORT.replace(">5251<", ">5k<"),
            "PerformanceEstimates/SummaryOfOverallLatency/Worst-caseLatency is no number: '5k'",
        ),
        (REPORT.replace(">10.00<", ">soon<"), "UserAssignments/TargetClockPeriod is no time in ns: 'soon'"),
        (REPORT.replace(">10.00<", ">nan<"), "UserAssignments/TargetClockPeriod is no time in ns: 'nan'"),
    ],
    ids=["empty", "cut", "text", "entities", "utf-16", "other xml", "no resources", "latency", "period", "nan"],
)
def test_what_is_no_report(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == (
        f"error[bad-csynth]: {tmp_path}/csynth.xml cannot be read: {message}\n"
        "  help: give the XML that csynth wrote: SOLUTION/syn/report/TOP_csynth.xml, or hls/syn/report/csynth.xml"
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"error\[missing-file\]: .*nothing\.xml cannot be read: No such file"):
        read_csynth(tmp_path / "nothing.xml")
