"""To a bitstream: the tiny network on the smallest board, by `run` and by `build`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitkiln.boards import ICEBREAKER
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]

ICE40_SYNC_WORD = bytes.fromhex("7eaa997e")


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++", "nextpnr-ice40", "amaranth_boards")
def test_a_bitstream(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    project = tiny.copy(tmp_path / "project")
    project.write_text(project.read_text() + '[build]\nboard = "icebreaker"\n')
    found = bitkiln("run", project, "--json")
    assert found.code == 0, found.err
    report: dict[str, Any] = json.loads(found.out)
    folder = project.parent / "build"
    bitstream = (folder / "tiny.bin").read_bytes()
    assert ICE40_SYNC_WORD in bitstream[:100]
    assert report["bitstream"] == {"path": "tiny.bin", "bytes": len(bitstream)}
    assert (report["board"], report["clock_mhz"]) == ("icebreaker", 12.0)
    assert report["fmax_mhz"] >= 12
    assert {kind: share["available"] for kind, share in report["resources"].items()} == {
        kind.value: count for kind, count in ICEBREAKER.resources
    }
    assert all(share["used"] <= share["available"] for share in report["resources"].values())
    assert report["resources"]["lut"]["used"] > 100
    assert 0 < report["link_images_per_second"] < report["images_per_second"]

    (folder / "tiny.bin").write_bytes(bitstream[:1000])
    again = bitkiln("run", project)
    assert [line.split()[0] for line in again.err.splitlines() if not line.endswith("up to date")] == ["build"]
    assert (folder / "tiny.bin").read_bytes() == bitstream
    rows = dict(line.split("  ", 1) for line in again.out.splitlines())
    assert rows["bitstream"].strip() == "tiny.bin"
    assert rows["Fmax"].strip() == f"{report['fmax_mhz']:.1f} MHz"

    command = ("build", tiny.graph, "--board", "icebreaker", "--max-multipliers", "8", "-o", tmp_path / "out")
    built: dict[str, Any] = json.loads(bitkiln(*command, "--json").out)
    assert built["bitstream"] == str(tmp_path / "out" / "model.bin")
    assert built["resources"] == report["resources"]
    assert (tmp_path / "out" / "model.bin").read_bytes() == bitstream  # the name of the graph is not in it
