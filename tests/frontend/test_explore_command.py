"""`bitkiln explore` and the listing of groups, on a tiny network for scikit-learn's digits."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bitkiln.passes import read_passes
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]


def test_the_table_the_choice_and_the_page(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    page = tmp_path / "scan.html"
    arguments = ("--data", "digits", "--samples", "200", "--budget", "0.02", "--densities", "0.2,0.5", "--html", page)
    found = bitkiln("explore", tiny.float_graph, *arguments)
    assert (found.code, found.err) == (0, "")
    assert "density = 1.0\nlayers = [\n" in found.out
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "Chosen densities" in text
    plain = json.loads(bitkiln("explore", tiny.float_graph, *arguments, "--json").out)
    assert {layer["name"] for layer in plain["scan"]["layers"]} == plain["choice"]["densities"].keys()
    (step,) = read_passes(tomllib.loads(plain["choice"]["toml"])["passes"], "recipe")
    assert {entry.layer: entry.density for entry in step.layers} == plain["choice"]["densities"]  # type: ignore[attr-defined]


def test_bits_alone(tiny: Tiny, bitkiln: Run) -> None:
    found = json.loads(
        bitkiln("explore", tiny.float_graph, "--data", "digits", "--samples", "50", "--bits", "2,8", "--json").out
    )
    assert [len(layer["densities"]) for layer in found["scan"]["layers"]] == [0, 0]
    assert [len(layer["bits"]) for layer in found["scan"]["layers"]] == [2, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--samples 0", "error[bad-value]: --samples must be at least 1, not 0\n"),
        ("--densities 0", "error[number-range]: a density to scan must be above 0 and at most 1, not 0\n"),
        ("--budget 2", "error[number-range]: budget must be at least 0 and below 1, not 2\n"),
        (
            "--bits 4 --budget 0.1",
            "error[bad-arguments]: --budget chooses among densities\n  help: --densities 0.05,0.1,0.3 beside --bits\n",
        ),
    ],
)
def test_wrong_options(options: str, message: str, tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("explore", tiny.float_graph, "--data", "digits", *options.split())
    assert (found.code, found.err) == (2, message)


def test_codes_cannot_be_scanned(tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("explore", tiny.graph, "--data", "digits", "--samples", "20")
    assert found.code == 2
    assert "error[cannot-prune]" in found.err


def test_groups_are_listed_before_anything_is_cut(tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("compress", tiny.float_graph, "--groups")
    assert (found.code, found.err) == (0, "")
    assert found.out == (
        "conv: 4 channels\n"
        "  makes   conv.weight axis 0\n"
        "  follows conv.bias axis 0\n"
        "  reads   classify.weight axis 1 x9\n"
        "1 groups, 4 channels\n"
    )
    plain = json.loads(bitkiln("compress", tiny.float_graph, "--groups", "--json").out)
    assert plain["groups"][0]["members"][2] == {
        "node": "classify",
        "const": "classify.weight",
        "axis": 1,
        "role": "reads",
        "count": 9,
    }


def test_what_compression_saves_is_shown(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    passes = ("--pass", "prune_channels{density=0.5}", "--pass", "share{index_bits=3}", "--data", "digits")
    found = bitkiln("compress", tiny.float_graph, *passes, "-o", tmp_path / "small.kiln")
    assert found.code == 0
    for word in ("dense bytes", "stored bytes", "MACs executed", "cycles", "bitmap", "CSC", "relative"):
        assert word in found.out
    plain = json.loads(bitkiln("compress", tiny.float_graph, *passes, "--json", "-o", tmp_path / "again.kiln").out)
    assert plain["after"]["stored_bytes"] == (tmp_path / "small.kiln").stat().st_size == plain["stored_bytes"]
    assert plain["after"]["macs"] == plain["before"]["macs"] / 2
    assert plain["after"]["cycles"] < plain["before"]["cycles"]
