"""`bitkiln simulate` on several accelerators and models, and the page it writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bitkiln.cli import main
from tests.projects import Tiny

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulate"
SMALL = "Layer, M, N, K, Weight density, Activation density,\nfc1, 1, 64, 128, {}, 0.5,\nfc2, 1, 10, 64, {}, 0.5,\n"


@pytest.fixture
def networks(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text(SMALL.format(1, 1))
    after.write_text(SMALL.format(0.1, 0.2))
    return before, after


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["simulate", *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_several_accelerators_stand_side_by_side(
    networks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    arguments = (networks[0], "-a", "systolic-32", "-a", "eie", "--dataflow", "os", "--html", page)
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "before on 32x32 systolic array" in out
    assert "before on EIE" in out
    assert out.split("side by side")[1].count("before") == 2
    text = page.read_text("utf-8")
    assert text.count('<h2 class="section">') == 2
    assert f"bitkiln simulate {shlex.join(map(str, arguments))}" in text
    code, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out)["simulations"]
    assert [item["accelerator"] for item in found] == ["systolic-32", "eie"]
    assert all(
        {"compute_cycles", "cycles", "energy_pj", "dram_bytes", "sram_bytes"} <= set(item["total"]) for item in found
    )


def test_before_and_after_compression(
    networks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What did pruning buy?"""
    before, after = networks
    page = tmp_path / "page.html"
    code, out, _ = run(capsys, before, "--against", after, "-a", "zero-skip", "--json", "--html", page)
    assert code == 0
    found = json.loads(out)["simulations"]
    assert [item["workload"] for item in found] == ["before", "after"]
    energy = [item["total"]["energy_pj"] for item in found]
    assert energy[1] < energy[0] / 2
    assert '<h2 class="section">after</h2>' in page.read_text("utf-8")


def test_files_of_one_name_are_told_apart_by_their_folder(
    networks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "pruned" / "before.csv"
    other.parent.mkdir()
    other.write_text(networks[1].read_text())
    code, out, _ = run(capsys, networks[0], "--against", other, "-a", "eie", "--json")
    assert code == 0
    assert [item["workload"] for item in json.loads(out)["simulations"]] == [str(networks[0]), str(other)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("-a", "eie", "-a", "tpu-like", "--csv"),
            "error[bad-arguments]: CSV has one model on one accelerator\n  help: use --json for several\n",
        ),
        (
            ("--html", "x.html"),
            "error[bad-arguments]: --html is for described accelerators\n  help: choose one with -a\n",
        ),
        (
            ("-a", "eie", "--dataflow", "ws"),
            "error[bad-dataflow]: eie has a eie engine; only a systolic array has a choice of dataflow\n",
        ),
        (("-a", "eie", "--batch", "0"), "error[bad-value]: --batch must be at least 1, not 0\n"),
    ],
)
def test_wrong_options_are_one_message(
    networks: tuple[Path, Path], options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, networks[0], *options) == (2, "", message)


@pytest.mark.parametrize(
    ("name", "accelerator"),
    [("alexnet_fc", "eie"), ("binarynet_cifar10", "xnor-array"), ("vgg16_conv", "zero-skip")],
)
def test_examples_run(name: str, accelerator: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, EXAMPLES / f"{name}.csv", "-a", accelerator, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["total"]["cycles"] >= found["total"]["compute_cycles"] > 0
    assert found["total"]["macs"] >= found["total"]["performed_macs"] > 0
    lines = (EXAMPLES / f"{name}.csv").read_text().splitlines()
    assert len(found["layers"]) == len(lines) - 1


def test_real_samples_take_the_place_of_drawn_zeros(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """The golden model's own activations: half of them are zero behind a ReLU, which drawing knows nothing of."""
    command = (tiny.graph, "-a", "zero-skip", "--batch", 5, "--json")
    drawn, real = (json.loads(run(capsys, *command, *more)[1])["layers"] for more in ((), ("--data", "digits")))
    assert [layer["macs"] for layer in drawn] == [layer["macs"] for layer in real]
    assert all(there["performed_macs"] < here["performed_macs"] for here, there in zip(drawn, real, strict=True))


def test_samples_need_a_graph(networks: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, networks[0], "-a", "eie", "--data", "digits")
    assert code == 2
    assert error == f"error[bad-arguments]: --data is for graphs; {networks[0]} has no values to compute with\n"
