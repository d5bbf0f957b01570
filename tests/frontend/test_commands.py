"""What each verb gives for right input and says of wrong options; for wrong files see tests/e2e/test_wrong_input.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitkiln.ir import load_graph
from tests.projects import BOARD_NAMES, Outcome, Tiny

Run = Callable[..., Outcome]


def result(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    plain: dict[str, Any] = json.loads(outcome.out)
    return plain


def test_import(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    model = ("import", f"{tiny.folder}/model.py", "--input-size", "1x1x8x8")
    found = result(bitkiln(*model, "-o", tmp_path / "new" / "net.graph", "--json"))
    assert (found["name"], found["params"]) == ("model", 4 * 9 + 4 + 360 + 10)
    conv = found["nodes"][0]
    assert (conv["name"], conv["op"], conv["type"], conv["macs"]) == ("conv", "conv2d", "f32[1,4,3,3]", 9 * 4 * 9)
    assert conv["place"] == f"{tiny.folder}/model.py:11 (conv)"
    assert load_graph(tmp_path / "new" / "net.graph").params == found["params"]
    shown = bitkiln(*model)
    assert shown.out.splitlines()[1].split() == ["name", "op", "type", "params", "macs", "weights", "place"]
    assert "410 parameters, 684 multiply-accumulates\n" in shown.out


def test_compress(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    command = ("compress", tiny.float_graph, "--data", "digits", "--pass", "canonicalise")
    quantise = "quantise{weight_bits=3, per_channel=false}"
    found = result(bitkiln(*command, "--pass", quantise, "-o", tmp_path / "small.graph", "--json"))
    assert found["constant_bits"]["before"] == 32 * 410
    assert found["constant_bits"]["after"] < 32 * 410 / 4
    assert 0.1 < found["accuracy"]["after"] <= 1
    assert any(": i3.f" in line for line in found["graph"])
    assert not any(".f[" in line for line in found["graph"])
    assert load_graph(tmp_path / "small.graph").name == "model"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "quantize",
            "error[unknown-pass]: --pass[0]: unknown pass 'quantize'\n  help: did you mean quantise or fake_quantise",
        ),
        ("", "error[unknown-pass]: --pass[0]: unknown pass ''\n  help: known: "),
        (
            "quantise{weight_bits=1}",
            "error[number-range]: --pass[0] quantise: weight_bits must be between 2 and 16, not 1\n",
        ),
        (
            "quantise{weight_bits=",
            "error[bad-value]: --pass 'quantise{weight_bits=' cannot be read: Invalid value (at end of document)\n"
            "  help: write it like quantise{weight_bits=4, per_channel=false}\n",
        ),
        (
            "quantise{weight_bits=8}\nx=1",
            "error[bad-value]: --pass 'quantise{weight_bits=8}\\nx=1' is more than a name with options\n"
            "  help: write it like quantise{weight_bits=4, per_channel=false}\n",
        ),
        (
            "quantise{name='tune'}",
            "error[bad-value]: --pass \"quantise{name='tune'}\" is more than a name with options\n"
            "  help: write it like quantise{weight_bits=4, per_channel=false}\n",
        ),
    ],
)
def test_wrong_passes(text: str, message: str, tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("compress", tiny.float_graph, "--data", "digits", "--pass", text)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "digit",
            "error[bad-value]: --data.format: 'digit' is not one of the known values\n"
            "  help: did you mean digits? Known: digits, idx, npz\n",
        ),
        (
            "digits:here",
            'error[bad-data-spec]: --data: format = "digits" takes no path\n'
            "  help: the images are part of scikit-learn\n",
        ),
        ("npz", 'error[bad-data-spec]: --data npz: [data] format = "npz" needs path: the .npz file\n'),
        (
            "npz:/no/data.npz",
            "error[missing-file]: --data npz:/no/data.npz: [data] path does not exist\n  --> /no/data.npz\n",
        ),
    ],
)
def test_wrong_samples(data: str, message: str, tiny: Tiny, bitkiln: Run) -> None:
    command = ("compress", tiny.float_graph, "--pass", "quantise", "--data", data)
    assert bitkiln(*command) == Outcome(2, "", message)


def test_simulate(tiny: Tiny, bitkiln: Run) -> None:
    found = result(bitkiln("simulate", tiny.graph, "--json"))
    assert found["latency"] > found["interval"] > 0
    assert found["images_per_second"] == 12e6 / found["interval"]
    assert found["energy_pj"] > sum(layer["energy_pj"] for layer in found["layers"]) > 0  # images come from outside
    slower = result(bitkiln("simulate", tiny.graph, "--max-multipliers", "2", "--clock-mhz", "25", "--json"))
    assert slower["interval"] > found["interval"]
    assert slower["images_per_second"] == 25e6 / slower["interval"]
    target = result(bitkiln("simulate", tiny.graph, "--target-interval", "200", "--json"))
    assert target["interval"] <= 200
    shown = bitkiln("simulate", tiny.graph).out
    assert f"latency {found['latency']}, interval {found['interval']} cycles: " in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--clock-mhz 0", "error[bad-value]: the folding options: clock_mhz must be above 0 and finite, not 0.0\n"),
        ("--clock-mhz -1", "error[bad-value]: the folding options: clock_mhz must be above 0 and finite, not -1.0\n"),
        ("--clock-mhz nan", "error[bad-value]: the folding options: clock_mhz must be above 0 and finite, not nan\n"),
        ("--max-multipliers 0", "error[bad-value]: the folding options: max_multipliers must be at least 1, not 0\n"),
        (
            "--target-interval 1",
            "error[bad-folding]: the target_interval of 1 cycles is out of reach with any number of multipliers\n"
            "  help: the least interval is 93 cycles, all of which conv takes at any folding\n",
        ),
    ],
)
def test_wrong_plans(options: str, message: str, tiny: Tiny, bitkiln: Run) -> None:
    assert bitkiln("simulate", tiny.graph, *options.split()) == Outcome(2, "", message)


def test_unknown_technology(tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("simulate", tiny.graph, "--technology", "45mn")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(
        "error[unknown-technology]: there is no energy table called '45mn'\n  help: did you mean"
    )


def test_a_float_graph_is_no_hardware(tiny: Tiny, bitkiln: Run) -> None:
    assert bitkiln("simulate", tiny.float_graph) == Outcome(
        2,
        "",
        "error[unsupported-graph]: the float input %images must be quantised first of all, but its users are: "
        "%conv (conv2d)\n"
        "  help: pass quantise, or input_bits of fake_quantise, or input_threshold of binarise\n",
    )


@pytest.mark.tools("yosys")
def test_generate(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    command = ("generate", "rtl", tiny.graph, "-o", tmp_path / "rtl")
    found = result(bitkiln(*command, "--json"))
    assert found["files"] == {
        name: (tmp_path / "rtl" / name).stat().st_size for name in ("plan.json", "top.il", "top.v")
    }
    again = bitkiln(*command)
    assert again.out.splitlines()[2] == f"{tmp_path / 'rtl' / 'top.v'}  {found['files']['top.v']:,} bytes"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert bitkiln("generate", "rtl", tiny.graph, "-o", tmp_path / "mine") == Outcome(
        2,
        "",
        f"error[not-a-bundle]: {tmp_path / 'mine'} is not replaced: it holds files that do not come from bitkiln\n"
        "  help: name a new or an empty folder\n",
    )
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_generate_hls(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    command = ("generate", "hls", tiny.graph, "--data", "digits", "--images", "3", "-o", mine)
    assert bitkiln(*command) == Outcome(
        2,
        "",
        f"error[not-a-bundle]: {mine} is not replaced: it holds files that do not come from bitkiln\n"
        "  help: name a new or an empty folder\n",
    )
    assert [file.name for file in mine.iterdir()] == ["notes.txt"]
    found = result(bitkiln(*command, "--force", "--json"))
    (top,) = (mine / "src").glob("*_top.cpp")
    assert found["files"][f"src/{top.name}"] == top.stat().st_size
    assert "constexpr int IMAGES = 3;" in (mine / "tb" / "images.h").read_text()
    assert not (mine / "notes.txt").exists()


def test_generate_hls_with_types_that_are_none(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    command = ("generate", "hls", tiny.graph, "-o", tmp_path / "hls", "--ap-types", tmp_path)
    assert bitkiln(*command) == Outcome(
        2,
        "",
        f"error[no-ap-types]: {tmp_path} does not hold ap_int.h and hls_stream.h\n"
        "  help: name the folder that holds ap_int.h and hls_stream.h, e.g. that of the hls4ml 1.3.0 wheel\n",
    )
    assert not (tmp_path / "hls").exists()


@pytest.mark.tools("c++")
def test_verify_hls(tiny: Tiny, bitkiln: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason='random networks need pip install "bitkiln[rtl]"')
    command = ("verify", tiny.graph, "--backend", "hls", "--data", "digits", "--images", "50")
    found = result(bitkiln(*command, "--json"))
    assert (found["images"], found["codes"], found["mismatches"]) == (50, 500, 0)
    assert bitkiln(*command).out == ("50 images in C simulation (vitis, our own types): 0 of 500 codes are wrong\n")
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert bitkiln(*command).code == 2


@pytest.mark.tools("yosys", "c++")
def test_verify(tiny: Tiny, bitkiln: Run) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    command = ("verify", tiny.graph, "--data", "digits", "--images", "5", "--no-back-pressure")
    found = result(bitkiln(*command, "--json"))
    assert (found["images"], found["mismatches"], found["cycle_mismatches"]) == (5, 0, 0)
    assert (found["rtl_latency"], found["back_pressure_images"]) == (found["predicted_latency"], 0)
    assert bitkiln(*command).out == (
        "5 images on compiled: 0 wrong beats, 0 in another cycle than predicted\n"
        f"latency {found['rtl_latency']:,} (predicted {found['rtl_latency']:,}), "
        f"interval {found['rtl_interval']:,} (predicted {found['rtl_interval']:,})\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "verify {graph} --data digits --images 1000",
            "error[too-few-samples]: 1000 images are to be verified, but there are only 364 test samples\n"
            "  help: at most images = 364\n",
        ),
        (
            "verify {graph} --data digits --images 1",
            "error[bad-value]: images must be at least 2 (an interval needs two), not 1\n",
        ),
        ("verify {graph} --data digits --seed -1", "error[bad-value]: seed must be between 1 and 2**32 - 1, not -1\n"),
        (
            "build {graph} --board icebraker -o {out}",
            "error[unknown-board]: there is no board called 'icebraker'\n"
            f"  help: did you mean icebreaker? Known: {BOARD_NAMES}\n",
        ),
        (
            "build {graph} --board icebreaker --clock-mhz 25 -o {out}",
            "error[bad-value]: --clock-mhz is 25.0, but icebreaker runs at 12.0\n  help: leave --clock-mhz out\n",
        ),
        (
            "build {graph} --board icebreaker -o {graph}",
            "error[cannot-write]: the output folder {graph} cannot be written: Not a directory\n"
            "  help: -o, or [output] folder, names another one\n",
        ),
    ],
)
def test_wrong_options_of_hardware(options: str, message: str, tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    places = {"graph": tiny.graph, "out": tmp_path / "out"}
    found = bitkiln(*options.format(**places).split())
    assert found == Outcome(2, "", message.format(**places))
    assert list(tmp_path.iterdir()) == []


def test_until_a_step_that_there_is_not(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    project = tiny.copy(tmp_path / "project")
    assert bitkiln("run", project, "--until", "build") == Outcome(
        2,
        "",
        "error[unknown-step]: there is no step 'build'\n"
        "  help: known: compress, generate, import, report, simulate, verify\n",
    )
    assert not (project.parent / "build").exists()


def test_samples_from_elsewhere(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    project = tiny.copy(tmp_path / "project")
    project.write_text(project.read_text().replace('"digits"', '"npz"\npath = "data.npz"'))
    found = bitkiln("run", project, "--until", "compress", "--data", "/no/data.npz")
    assert found.err.endswith("error[missing-file]: [data] path does not exist\n  --> /no/data.npz\n")
