"""A fixed sample of changed files: each gives a Diagnostic or a graph that runs. More in benchmarks/fuzz_import.py."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.frontend.fuzzing import Seed, outcome, seeds


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".graph", ".kiln"])
def test_changed_files_end_in_a_diagnostic_or_a_graph(suffix: str, originals: list[Seed], tmp_path: Path) -> None:
    rng, outcomes = random.Random(5), Counter[str]()
    chosen = [seed for seed in originals if seed.suffix == suffix]
    for seed in chosen:
        assert outcome(seed.content, suffix, tmp_path) == "graph"
    for i in range(60):
        seed = chosen[i % len(chosen)]
        outcomes[outcome(rng.choice(seed.mutations)(seed.content, rng), suffix, tmp_path)] += 1
    assert outcomes.total() - outcomes["graph"] >= 15, outcomes
