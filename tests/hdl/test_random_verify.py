"""Random networks over all units; a unit that is wrong is found, and the network shrunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.cli import main
from bitkiln.hdl.random_network import End, RandomNetwork, Step, StepKind
from bitkiln.hdl.random_verify import Finding, check_network, program, verify_random
from bitkiln.ir.units import UNITS, Gather
from bitkiln.passes.schedule import PlanOptions, schedule


def test_networks_use_every_unit() -> None:
    plans = (schedule(RandomNetwork.drawn(seed).graph(), PlanOptions(max_multipliers=24)) for seed in range(150))
    assert {type(stage.unit) for plan in plans for stage in plan.stages} == set(UNITS)


def test_same_seed_same_network() -> None:
    assert RandomNetwork.drawn(7) == RandomNetwork.drawn(7) != RandomNetwork.drawn(8)


@pytest.mark.slow
def test_no_network_differs() -> None:
    found = verify_random(6, 100)
    assert (found.networks, found.bit_mismatches, found.cycle_mismatches, found.failing) == (6, 0, 0, ())


NETWORK = RandomNetwork(1, 2, 3, 2, (Step(StepKind.RELU, 2), Step(StepKind.FLIP, 1)), End.MAP, 8)


def test_wrong_unit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gather that gives its beats one cycle late gives what is read for the beats after them."""
    assert check_network(NETWORK).is_exact
    monkeypatch.setattr(Gather, "LATENCY", 4)
    found = check_network(NETWORK)
    assert found.bit_mismatches > 0
    assert "wrong" in found.findings


def fails_with(kind: StepKind) -> Callable[[RandomNetwork], Finding]:
    def check(network: RandomNetwork) -> Finding:
        is_wrong = any(step.kind is kind for step in network.steps) and network.width >= 3
        return Finding(network, 0, 2 * is_wrong, "one beat late" if is_wrong else "")

    return check


def test_failing_networks_are_shrunk_and_written(tmp_path: Path) -> None:
    found = verify_random(40, 0, check=fails_with(StepKind.SHUFFLE))
    assert found.cycle_mismatches == 2 * len(found.failing) > 0
    for failing in found.failing:
        network = failing.network
        assert [step.kind for step in network.steps] == [StepKind.SHUFFLE]
        assert (network.channels, network.height, network.width, network.end) == (1, 1, 3, End.MAP)
    assert found.files().paths == tuple(sorted(f"failing_{failing.network.seed}.py" for failing in found.failing))


def test_written_program(tmp_path: Path) -> None:
    text = program(Finding(NETWORK, 1, 0, "12 output beats: 1 wrong\n  beat 3"))
    assert text == (
        '"""A random network whose RTL differs from the golden model or from the predicted cycles."""\n\n'
        "from bitkiln.hdl.random_network import End, RandomNetwork, Step, StepKind\n"
        "from bitkiln.hdl.random_verify import check_network\n"
        "from bitkiln.ir.units import Storage\n\n"
        "NETWORK = RandomNetwork(\n"
        "    seed=1, channels=2, height=3, width=2,\n"
        "    steps=(\n"
        "        Step(StepKind.RELU, 2),\n"
        "        Step(StepKind.FLIP, 1),\n"
        "    ),\n"
        "    end=End.MAP, multipliers=8,\n"
        "    storage=None, renewable=False, banks=1,\n"
        ")\n\n"
        "# 12 output beats: 1 wrong\n"
        "#   beat 3\n"
        "found = check_network(NETWORK)\n"
        "raise SystemExit(0 if found.is_exact else found.findings)\n"
    )
    with pytest.raises(SystemExit) as caught:
        exec(compile(text, "failing_1.py", "exec"), {})  # our own text
    assert caught.value.code == 0


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--random", "2", "--seed", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("seconds") > 0
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
    assert main(["verify", "--random", "3", "--data", "digits"]) == 2
    assert "--random makes its own networks and images" in capsys.readouterr().err
    assert main(["verify"]) == 2
    assert "verify takes a graph file and --data" in capsys.readouterr().err
