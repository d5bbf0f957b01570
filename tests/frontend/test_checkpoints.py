"""Training that is killed, really killed, and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bitkiln.cli import main
from bitkiln.frontend.checkpoints import FileCheckpoints
from bitkiln.frontend.pipeline import ACCURACY, GRAPH, KILN, TRAINING
from tests.projects import TINY_MODEL, TINY_PROJECT

CHAIN = """
[[passes]]
name = "tune"
epochs = 6
learning_rate = 0.01
seed = 3

[[passes]]
name = "gradual_prune"
steps = 2
prune = { density = 0.4 }
tune = { epochs = 6, learning_rate = 0.01, optimizer = "sgd", dropout = [{ layer = "classify", rate = 0.1 }] }
"""


def project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(TINY_MODEL)
    start, quantise, end = TINY_PROJECT.replace('weights = "weights.safetensors"\n', "").partition("[[passes]]")
    (folder / "project.toml").write_text(start + CHAIN + quantise + end)
    return folder


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoints = FileCheckpoints(tmp_path / "training" / "chain")
    assert checkpoints.load("key") is None
    state = {"rank": torch.tensor([0.5, -1.0], dtype=torch.float64), "generator": torch.Generator().get_state()}
    checkpoints.save("key", state)
    found = checkpoints.load("key")
    assert found is not None
    assert {name: value.tolist() for name, value in found.items()} == {n: value.tolist() for n, value in state.items()}
    FileCheckpoints(tmp_path / "training" / "other").clear_others()
    assert checkpoints.load("key") is None
    checkpoints.save("key", state)
    (tmp_path / "training" / "chain" / "key.safetensors").write_bytes(b"damaged")
    assert checkpoints.load("key") is None
    checkpoints.clear_all()
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = ["run", str(project(tmp_path / "project")), "--until", "compress", "-o"]
    assert main([*arguments, str(whole)]) == 0
    command = [sys.executable, "-m", "bitkiln", *arguments, str(killed)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    training = killed / TRAINING
    deadline = time.monotonic() + 120
    while len(list(training.glob("*/*.safetensors"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    states = {file: file.stat().st_mtime_ns for file in training.glob("*/*.safetensors")}
    assert len(states) >= 2
    first = min(states, key=lambda file: states[file])
    assert not (killed / GRAPH).exists()
    assert main([*arguments, str(killed)]) == 0
    for name in (GRAPH, KILN, ACCURACY):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert not first.exists()
    assert not training.exists()
