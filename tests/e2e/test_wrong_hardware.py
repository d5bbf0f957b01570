"""Networks that no unit computes, goals out of reach and foldings that do not divide: what is said, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bitkiln.ir import Builder, Int, Location, TensorType, save_graph
from bitkiln.ir.ops import Dequantise, Linear, Quantise, ReduceMax, Requantise
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A graph file of codes one of whose nodes has no unit."""
    build = Builder("strange")
    x = build.input("x", TensorType((1, 8), Int(8)))
    weight = build.constant("w", TensorType((4, 8), Int(4)), torch.ones(4, 8, dtype=torch.int8))
    sums = build.add(Linear(), (x, weight), "fc", Location("model.py", 7, "fc"))
    codes = build.add(Requantise(Int(8, True, -3), (3,)), (sums,), "codes")
    values = build.add(Dequantise((-3,)), (codes,), "values")
    most = build.add(ReduceMax((1,), True), (values,), "most", Location("model.py", 9, "most"))
    save_graph(build.graph((build.add(Quantise(Int(8)), (most,), "y"),)), tmp_path / "strange.graph")
    return tmp_path / "strange.graph"


@pytest.mark.parametrize(
    "verb", ["simulate GRAPH", "generate rtl GRAPH -o OUT", "build GRAPH --board icebreaker -o OUT"]
)
def test_a_node_without_a_unit(verb: str, strange: Path, tmp_path: Path, bitkiln: Run) -> None:
    words = (word.replace("GRAPH", str(strange)).replace("OUT", str(tmp_path / "out")) for word in verb.split())
    found = bitkiln(*words)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(
        "error[no-unit]: no hardware unit takes %most (reduce_max): it computes floats\n"
        "  --> model.py:9 (most)\n"
        "  help: operations with units: add, "
    )
    assert [path.name for path in tmp_path.iterdir()] == ["strange.graph"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("pe = 3", "conv cannot be folded with pe = 3\n  --> {at} (conv)\n  help: legal values: 1, 2, 4\n"),
        ("simd = 2", "conv cannot be folded with simd = 2\n  --> {at} (conv)\n  help: legal values: 1\n"),
        ("sparse = true, storage = 'loaded'", "conv: entries of weights that are not 0 cannot be stored as 'loaded'\n"),
    ],
)
def test_a_folding_by_hand(wish: str, message: str, tiny: Tiny, tmp_path: Path, bitkiln: Run) -> None:
    project = tiny.copy(tmp_path / "project")
    text = project.read_text()
    layers = f"layers = [{{ layer = 'conv', {wish} }}]"
    project.write_text(text.replace("max_multipliers = 8", f"max_multipliers = 8\n{layers}"))
    found = bitkiln("run", project, "--until", "simulate")
    assert (found.code, found.out) == (2, "")
    said = found.err.partition("error[bad-folding]: ")[2]
    place = said.partition("--> ")[2].partition(" (")[0]
    assert message.format(at=place) in said
    assert not list((tmp_path / "project").rglob("*.v"))


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("--frames-per-second 12e6", "the 1.2e+07 frames_per_second at 12 MHz is out of reach with any number of"),
        ("--target-interval 93 --max-multipliers 2", "the target_interval of 93 cycles is out of reach with at most 2"),
        ("--max-multipliers 1", "max_multipliers is 1, but the layers need at least 2 multipliers"),
    ],
)
def test_a_goal_out_of_reach(goal: str, message: str, tiny: Tiny, tmp_path: Path, bitkiln: Run) -> None:
    found = bitkiln("generate", "rtl", tiny.graph, *goal.split(), "-o", tmp_path / "rtl")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error[bad-folding]: {message}")
    assert "\n  help: " in found.err
    assert list(tmp_path.iterdir()) == []
