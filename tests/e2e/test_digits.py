"""The whole road on real digits: trained for some epochs, run, changed, killed and continued."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bitkiln.cli import main
from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.frontend.state import save_state
from tests.projects import EXAMPLE, Outcome

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

Run = Callable[..., Outcome]

pytestmark = [pytest.mark.slow, pytest.mark.tools("yosys", "c++")]

STEPS = ("import", "compress", "simulate", "generate", "verify", "report")
EPOCHS = 6
IMAGES = 20


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project whose every step is done; nothing may change it."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    folder.mkdir()
    for name in ("model.py", "train.py"):
        shutil.copy(EXAMPLE / name, folder)
    text = (EXAMPLE / "project.toml").read_text().replace("images = 200", f"images = {IMAGES}")
    text, board, _ = text.partition("[build]\n")
    assert board
    (folder / "project.toml").write_text(text)
    _train(folder)
    assert main(["run", str(folder)]) == 0
    return folder


def _train(folder: Path) -> None:
    """Train as train.py does, for less long."""
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("digits_train", folder / "train.py")
        assert spec is not None
        assert spec.loader is not None
        training: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(training)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("model", None)
    training.EPOCHS = EPOCHS
    data = load_dataset(DataSpec(DataFormat.DIGITS))
    torch.manual_seed(0)
    model = training.build()
    training.train(model, torch.from_numpy(data.train_x), torch.from_numpy(data.train_y))
    save_state(model, folder / "weights.safetensors")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project, somewhere else."""
    return Path(shutil.copytree(finished, tmp_path / "digits")) / "project.toml"


def steps_run(outcome: Outcome) -> list[str]:
    """The steps that were not up to date, by what the command says."""
    assert outcome.code == 0, outcome.err
    lines = [line.split() for line in outcome.err.splitlines()]
    assert [line[0] for line in lines] == list(STEPS)
    return [name for name, *state in lines if state != ["up", "to", "date"]]


def edit(project: Path, old: str, new: str) -> None:
    text = project.read_text()
    assert old in text
    project.write_text(text.replace(old, new, 1))


def test_the_report(finished: Path) -> None:
    report = json.loads((finished / "build" / "report.json").read_text())
    assert (report["model"]["params"], report["model"]["macs"]) == (4258, 60544)
    assert report["accuracy"]["float"] > 0.95
    assert abs(report["accuracy"]["golden"] - report["accuracy"]["float"]) <= 0.01
    assert report["verify"] == {"images": IMAGES, "mismatches": 0, "simulator": "compiled"}
    cycles = report["cycles"]
    assert (cycles["rtl_latency"], cycles["rtl_interval"]) == (cycles["latency"], cycles["interval"])
    assert report["storage"]["stored_bytes"] < report["storage"]["dense_bytes"] / 3
    assert report["energy"]["total_pj"] == pytest.approx(sum(report["energy"]["by_kind"].values()))
    assert report["images_per_second"] == 12e6 / cycles["interval"]
    assert (report["resources"], report["fmax_mhz"], report["bitstream"]["path"]) == ({}, None, None)
    assert {"stem.0", "widen.0", "residual.0", "add", "classify"} <= {layer["name"] for layer in report["layers"]}
    assert report["commands"][-1] == "bitkiln run digits/project.toml"
    assert set(report["digests"]) >= {"project.toml", "weights.safetensors", "rtl/top.v", "compressed.kiln"}
    assert [step["name"] for step in report["recipe"]] == ["import", "quantise"]
    assert report["timeline"]["steady"]["cycles"] == cycles["interval"]


def test_again(project: Path, bitkiln: Run) -> None:
    """A copy elsewhere is as finished as the original."""
    found = bitkiln("run", project)
    assert steps_run(found) == []
    rows = [line.split() for line in found.out.splitlines()]
    assert ["mismatches", "0", "on", f"{IMAGES}", "images"] in rows
    assert rows[-1] == ["report", str(project.parent / "build" / "report.html")]


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        ("[plan]", '[simulate]\ntechnology = "65nm"\n[plan]', ["simulate", "report"]),
        ("[verify]", "[verify]\nseed = 7", ["verify", "report"]),  # which has the project file's digest
        ("weight_bits = 8", "weight_bits = 6", ["compress", "simulate", "generate", "verify", "report"]),
        ("max_multipliers = 8", "max_multipliers = 9", ["simulate", "generate", "verify", "report"]),
    ],
)
def test_another_option(old: str, new: str, steps: list[str], project: Path, bitkiln: Run) -> None:
    edit(project, old, new)
    assert steps_run(bitkiln("run", project)) == steps
    assert steps_run(bitkiln("run", project)) == []


def test_what_is_missing_is_made_again(project: Path, bitkiln: Run) -> None:
    build = project.parent / "build"
    verilog = (build / "rtl" / "top.v").read_bytes()
    (build / "rtl" / "top.v").write_bytes(verilog[: len(verilog) // 2])
    (build / "report.html").unlink()
    assert steps_run(bitkiln("run", project)) == ["generate", "report"]
    assert (build / "rtl" / "top.v").read_bytes() == verilog


def test_until_and_the_same_bytes_elsewhere(finished: Path, bitkiln: Run, tmp_path: Path) -> None:
    found = bitkiln("run", finished, "-o", tmp_path / "out", "--until", "generate", "--json")
    assert json.loads(found.out) == {
        "folder": str(tmp_path / "out"),
        "steps": dict.fromkeys(("import", "compress", "simulate", "generate"), True),
    }
    assert not (tmp_path / "out" / "verify.json").exists()
    found = bitkiln("run", finished, "-o", tmp_path / "out", "--until", "report", "--json")
    assert [line.split()[0] for line in found.err.splitlines() if line.endswith("up to date")] == list(STEPS[:4])
    assert json.loads(found.out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert contents(tmp_path / "out") == contents(finished / "build")


def contents(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_killed_run_goes_on_where_it_stopped(project: Path, bitkiln: Run, tmp_path: Path) -> None:
    """SIGKILL comes while yosys, of which only a stand-in runs, is writing the Verilog."""
    edit(project, "max_multipliers = 8", "max_multipliers = 7")
    stand_in = tmp_path / "yosys"
    lines = ("#!/bin/sh", "echo 'module top(' >top.v", f"echo $$ >{tmp_path}/new", f"mv {tmp_path}/new {tmp_path}/pid")
    stand_in.write_text("\n".join((*lines, "exec sleep 600\n")))
    stand_in.chmod(0o755)
    source = "import sys; from bitkiln.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"YOSYS": str(stand_in), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        (sys.executable, "-c", source, "run", str(project)), env=environment, stderr=subprocess.PIPE, text=True
    ) as command:
        _wait_for(tmp_path / "pid")
        command.kill()
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        _, text = command.communicate(timeout=60)
    assert [line.split()[0] for line in text.splitlines()] == ["import", "compress", "simulate"]
    assert text.splitlines()[:2] == ["import    up to date", "compress  up to date"]
    build = project.parent / "build"
    assert "module top" in (build / "rtl" / "top.v").read_text()  # still that of the run before, whole
    found = bitkiln("run", project)
    assert steps_run(found) == ["generate", "verify", "report"]
    report = json.loads((build / "report.json").read_text())
    assert (report["verify"]["mismatches"], report["cycles"]["rtl_latency"]) == (0, report["cycles"]["latency"])
    assert [path.name for path in build.iterdir() if path.name.startswith(".")] == [".steps"]


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.is_file():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.05)
