"""Random networks over all units; a unit that is wrong is found, and the network shrunk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.cli import main
from bitkiln.hdl.random_coverage import FEATURES, features
from bitkiln.hdl.random_network import End, RandomNetwork, Step, StepKind
from bitkiln.hdl.random_plan import random_plan
from bitkiln.hdl.random_verify import Finding, check_network, program, shrunk, verify_random
from bitkiln.ir.units import UNITS, Gather


def features_of(seed: int) -> frozenset[str]:
    network = RandomNetwork.drawn(seed)
    return features(network, random_plan(network))


def unused(seeds: range) -> Iterator[set[str]]:
    """What no network up to each seed makes use of."""
    left = set(FEATURES)
    for seed in seeds:
        left -= features_of(seed)
        yield left


def test_a_hundred_networks_use_all_that_there_is() -> None:
    assert {unit.kind for unit in UNITS} < set(FEATURES)
    left = next((left for left in unused(range(100)) if not left), None) or set()
    assert sorted(left) == []


def test_nothing_is_used_that_has_no_name() -> None:
    assert frozenset.union(*map(features_of, range(5))) <= set(FEATURES)


def test_same_seed_same_network() -> None:
    assert RandomNetwork.drawn(7) == RandomNetwork.drawn(7) != RandomNetwork.drawn(8)


@pytest.mark.slow
def test_no_network_differs() -> None:
    """Whatever the jobs, the same networks: coverage and cycles would tell."""
    found = verify_random(2, 100)
    assert (found.networks, found.bit_mismatches, found.cycle_mismatches, found.failing) == (2, 0, 0, ())
    assert verify_random(2, 100, jobs=2) == found


NETWORK = RandomNetwork(1, 2, 3, 2, (Step(StepKind.RELU, 2), Step(StepKind.FLIP, 1)), End.MAP, 8)


def run_file(path: Path) -> object:
    """What a written program ends with: 0, or why the network fails."""
    with pytest.raises(SystemExit) as caught:
        exec(compile(path.read_text(), path.name, "exec"), {})  # our own text
    return caught.value.code


def test_wrong_unit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gather that gives its beats one cycle late gives what is read for the beats after them."""
    assert check_network(NETWORK).is_exact
    monkeypatch.setattr(Gather, "LATENCY", 4)
    found = check_network(NETWORK)
    assert found.bit_mismatches > 0
    assert "wrong" in found.findings


@pytest.mark.slow
def test_wrong_unit_is_found_shrunk_and_shown_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From drawn networks to a program that fails as long as the fault is there."""
    monkeypatch.setattr(Gather, "LATENCY", 4)
    gathers = (seed for seed in range(100, 200) if "gather" in features_of(seed))
    seed = next(seed for seed in gathers if not check_network(RandomNetwork.drawn(seed)).is_exact)
    found = verify_random(1, seed)
    (failing,) = found.failing
    assert found.bit_mismatches > 0
    assert "gather" in failing.features
    assert len(failing.network.steps) <= 1
    (name,) = found.files().paths
    file = found.files().write(tmp_path / "failing") / name
    assert "wrong" in str(run_file(file))
    monkeypatch.undo()
    assert run_file(file) == 0


def fails_with(kind: StepKind) -> Callable[[RandomNetwork], Finding]:
    def check(network: RandomNetwork) -> Finding:
        is_wrong = any(step.kind is kind for step in network.steps) and network.width >= 3
        return Finding(network, 0, 2 * is_wrong, "one beat late" if is_wrong else "")

    return check


def test_failing_networks_are_shrunk_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitkiln.hdl.random_verify.check_network", fails_with(StepKind.SHUFFLE))
    found = verify_random(40, 0)
    assert found.cycle_mismatches == 2 * len(found.failing) > 0
    for failing in found.failing:
        network = failing.network
        assert [step.kind for step in network.steps] == [StepKind.SHUFFLE]
        assert (network.channels, network.height, network.width, network.end) == (1, 1, 3, End.MAP)
        assert (network.folding, network.queues) == (0, 0)
    assert found.files().paths == tuple(sorted(f"failing_{failing.network.seed}.py" for failing in found.failing))


def test_a_step_that_needs_the_map_of_another_is_shrunk_to_itself() -> None:
    """A shuffle of one channel moves nothing: it has to find the map that the layer before it gave."""

    def check(network: RandomNetwork) -> Finding:
        return Finding(network, int("gather" in features(network, random_plan(network))), 0, "")

    steps = Step(StepKind.SIGNS, 685136984), Step(StepKind.SHUFFLE, 581990130)
    found = shrunk(check(RandomNetwork(110, 1, 1, 1, steps, End.MAP, 16)), check)
    assert found.bit_mismatches == 1
    assert [step.kind for step in found.network.steps] == [StepKind.SHUFFLE]


def test_what_breaks_bitkiln_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(network: RandomNetwork) -> Finding:
        if network.seed == 8:
            raise AssertionError("eight")
        return Finding(network, 0, 0, "")

    monkeypatch.setattr("bitkiln.hdl.random_verify.check_network", check)
    found = verify_random(3, 7)
    assert (found.networks, found.bit_mismatches, len(found.failing)) == (3, 1, 1)
    assert (found.failing[0].network, found.failing[0].findings) == (RandomNetwork.drawn(8), "AssertionError: eight")


def test_written_program(tmp_path: Path) -> None:
    text = program(Finding(NETWORK, 1, 0, "12 output beats: 1 wrong\n  beat 3"))
    assert text == (
        '"""A random network whose hardware differs from the golden model or from the predicted cycles."""\n\n'
        "from bitkiln.hdl.random_network import End, RandomNetwork, Step, StepKind\n"
        "from bitkiln.hdl.random_verify import check_network\n"
        "from bitkiln.ir.units import DspBlock, Storage\n\n"
        "NETWORK = RandomNetwork(\n"
        "    seed=1, channels=2, height=3, width=2,\n"
        "    steps=(\n"
        "        Step(StepKind.RELU, 2),\n"
        "        Step(StepKind.FLIP, 1),\n"
        "    ),\n"
        "    end=End.MAP, multipliers=8,\n"
        "    storage=None, renewable=False, banks=1,\n"
        "    folding=0, queues=0,\n"
        "    dsp_block=None, dsp=None,\n"
        ")\n\n"
        "# 12 output beats: 1 wrong\n"
        "#   beat 3\n"
        "found = check_network(NETWORK)\n"
        "raise SystemExit(0 if found.is_exact else found.findings)\n"
    )
    (tmp_path / "failing_1.py").write_text(text)
    assert run_file(tmp_path / "failing_1.py") == 0


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--random", "2", "--seed", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("seconds") > 0
    assert found.pop("simulated_cycles") > 0
    coverage = found.pop("coverage")
    assert tuple(sorted(coverage)) == tuple(sorted(FEATURES))
    assert 0 < coverage["matrix_vector"] <= 2
    assert found == {"networks": 2, "bit_mismatches": 0, "cycle_mismatches": 0, "failing": []}


def test_command_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = fails_with(StepKind.SHUFFLE)
    monkeypatch.setattr("bitkiln.hdl.random_verify.check_network", check)
    seed = next(seed for seed in range(99) if not check(RandomNetwork.drawn(seed)).is_exact)
    arguments = ["verify", "--random", "1", "--seed", str(seed), "--json", "-o", str(tmp_path / "failing")]
    assert main(arguments) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["cycle_mismatches"], found["failing"]) == (2, [str(tmp_path / "failing" / f"failing_{seed}.py")])


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--random", "0"]) == 2
    assert "--random must be between 1 and 1000000, not 0" in capsys.readouterr().err
    assert main(["verify", "--random", "3", "--jobs", "0"]) == 2
    assert "--jobs must be between 1 and 256, not 0" in capsys.readouterr().err
    assert main(["verify", "--random", "3", "--data", "digits"]) == 2
    assert "--random makes its own networks and images" in capsys.readouterr().err
    assert main(["verify"]) == 2
    assert "verify takes a graph file and --data" in capsys.readouterr().err
