"""`bitkiln generate ip` and `verify --level ip`: what they write and print, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from tests.projects import BOARD_NAMES, Outcome, Tiny

Run = Callable[..., Outcome]


@pytest.mark.tools("yosys")
def test_a_block_and_a_project_in_a_folder(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    folder = tmp_path / "ip"
    options = ("--board", "pynq-z2", "--data", "digits", "--max-multipliers", 8, "--json")
    found = bitkiln("generate", "ip", tiny.graph, "-o", folder, *options)
    assert (found.code, found.err) == (0, "")
    printed = json.loads(found.out)
    assert printed["was_run"] is False
    assert sorted(printed["files"]) == sorted(file.name for file in folder.iterdir() if file.name != "bundle.sha256")
    (folder / "mine.txt").write_text("kept by nobody: the folder is the bundle's")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    refused = bitkiln("generate", "ip", tiny.graph, "-o", other)
    assert refused.code == 2
    assert "error[not-a-bundle]" in refused.err
    assert [file.name for file in other.iterdir()] == ["thesis.tex"]
    forced = bitkiln("generate", "ip", tiny.graph, "-o", other, "--force")
    assert (forced.code, (other / "bitkiln_model.v").is_file()) == (0, True)
    assert "generated, not run: bitkiln has no Vivado to run it with" in forced.out


def test_boards_are_listed_with_their_tools(bitkiln: Run) -> None:
    rows = {row["name"]: row for row in json.loads(bitkiln("list", "boards", "--json").out)}
    assert rows["icebreaker"]["tools"] == "open"
    assert {name for name, row in rows.items() if row["tools"] == "Vivado: generated, not run"} == {
        "pynq-z2",
        "kv260",
        "arty-a7-35t",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("generate", "ip", "GRAPH", "-o", "OUT", "--board", "pynq-z3"),
            "error[unknown-board]: there is no board called 'pynq-z3'\n"
            f"  help: did you mean pynq-z2? Known: {BOARD_NAMES}\n",
        ),
        (
            ("generate", "ip", "GRAPH", "-o", "OUT", "--board", "icebreaker"),
            "error[bad-arguments]: icebreaker is no board of Vivado's\n"
            "  help: bitkiln build --board icebreaker makes its bitstream\n",
        ),
        (
            ("generate", "ip", "GRAPH", "-o", "OUT", "--data", "digits"),
            "error[bad-arguments]: --data is for the host program of a board with a processor\n"
            "  help: --board pynq-z2\n",
        ),
        (
            ("generate", "rtl", "GRAPH", "-o", "OUT", "--board", "pynq-z2"),
            "error[bad-arguments]: --board and --data are not for `generate rtl`\n  help: leave them out\n",
        ),
        (
            ("build", "GRAPH", "-o", "OUT", "--board", "pynq-z2"),
            "error[vendor-board]: bitstreams for PYNQ-Z2 (Zynq XC7Z020) are made by Vivado, which bitkiln does not "
            "run\n"
            "  help: bitkiln generate ip --board pynq-z2 writes a project for Vivado\n",
        ),
        (
            ("verify", "GRAPH", "--level", "ip", "--data", "digits", "--board", "pynq-z2"),
            "error[bad-arguments]: the block is the same for every board\n  help: leave --board out\n",
        ),
        (
            ("verify", "GRAPH", "--level", "ip", "--data", "digits", "--simulator", "amaranth"),
            "error[bad-arguments]: the level ip runs under cocotb on Verilator, not on amaranth\n"
            "  help: leave --simulator out\n",
        ),
    ],
)
def test_wrong_input(arguments: tuple[str, ...], message: str, tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    places = {"GRAPH": tiny.graph, "OUT": tmp_path / "out"}
    found = bitkiln(*(places.get(word, word) for word in arguments))
    assert (found.code, found.out, found.err) == (2, "", message)
    assert not (tmp_path / "out").exists()
