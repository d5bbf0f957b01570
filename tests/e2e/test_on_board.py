"""`bitkiln infer` with a simulated board at the end of a pseudo-terminal, and `bitkiln flash`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.boards import ICEBREAKER
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.board_top import HostedAccelerator
from bitkiln.hdl.link import LinkTiming
from bitkiln.hdl.plan_identity import plan_identity
from bitkiln.hdl.uart_simulation import UartDesign, UartSimulation
from bitkiln.hdl.verify import golden_codes
from bitkiln.ir import Plan, load_graph
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues
from tests.hdl.pty_board import PtyBoard
from tests.projects import Outcome, Tiny

pytestmark = pytest.mark.tools("yosys", "c++")

Run = Callable[..., Outcome]

BIT_CYCLES = 4
PLAN = ("--max-multipliers", "8")


@pytest.fixture(scope="module")
def plan(tiny: Tiny) -> Plan:
    return size_queues(schedule(load_graph(tiny.graph), PlanOptions(max_multipliers=8)))


@pytest.fixture(scope="module")
def board(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PtyBoard]:
    timing = LinkTiming(quiet_cycles=4000, watchdog_cycles=20_000)
    hosted = HostedAccelerator(Accelerator(plan), plan_identity(plan, ICEBREAKER.clock_hz), BIT_CYCLES, timing)
    cache = tmp_path_factory.mktemp("simulation")
    with PtyBoard(UartSimulation(UartDesign.of(hosted), BIT_CYCLES, cache_folder=cache)) as board:
        yield board


@pytest.fixture
def images(tmp_path: Path) -> Path:
    file = tmp_path / "images.npy"
    np.save(file, torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3)).numpy())
    return file


def test_images_come_back_as_the_golden_model_says(
    plan: Plan, board: PtyBoard, images: Path, tiny: Tiny, bitkiln: Run
) -> None:
    found = bitkiln("infer", images, "--port", board.path, "--graph", tiny.graph, *PLAN, "--json")
    assert found.code == 0, found.err
    rows = json.loads(found.out)
    _, golden = golden_codes(plan, torch.from_numpy(np.load(images)))
    assert [row["largest"] for row in rows] == golden.argmax(axis=1).tolist()
    assert all(row["is_golden"] for row in rows)
    assert {row["latency_cycles"] for row in rows} == {dataflow_cycles(plan).latency}
    shown = bitkiln("infer", images, "--port", board.path, "--graph", tiny.graph, *PLAN)
    assert shown.out.splitlines()[-1] == "3 images, 0 not as the golden model"


def test_codes_without_a_graph(plan: Plan, board: PtyBoard, tmp_path: Path, bitkiln: Run) -> None:
    given, golden = golden_codes(plan, torch.rand(2, 1, 8, 8))
    np.save(tmp_path / "codes.npy", given[:, plan.input_order])
    found = bitkiln("infer", tmp_path / "codes.npy", "--port", board.path, "--json")
    assert found.code == 0, found.err
    assert [row["codes"] for row in json.loads(found.out)] == golden[:, plan.output_order].tolist()


def test_a_wrong_result_is_exit_code_1(
    plan: Plan, board: PtyBoard, images: Path, tiny: Tiny, bitkiln: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reverse = replace(plan, output_order=plan.output_order[::-1])
    monkeypatch.setattr("bitkiln.frontend.on_board.plan_from", lambda arguments, clock: reverse)
    found = bitkiln("infer", images, "--port", board.path, "--graph", tiny.graph)
    assert found.code == 1
    assert found.out.splitlines()[-1] == "3 images, 3 not as the golden model"


def test_another_design_is_in_the_chip(board: PtyBoard, images: Path, tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("infer", images, "--port", board.path, "--graph", tiny.graph, "--max-multipliers", "2")
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "error[wrong-design]: the chip holds another design than this graph with these options makes\n"
        "  help: flash the bitstream that was built from it, and give the options that it was built with\n"
    )


@pytest.mark.parametrize(
    ("array", "graph", "message"),
    [
        (np.zeros((3, 8, 8)), True, "an image has shape [1, 8, 8], or several have [n, 1, 8, 8], not [3, 8, 8]"),
        (np.full((1, 8, 8), np.nan), True, "an image has elements that are no finite numbers"),
        (np.zeros((1, 8, 8)), False, "without --graph, images are integer codes, 64 for each image, not float64 of"),
        (np.zeros(63, np.int64), False, "without --graph, images are integer codes, 64 for each image, not int64 of"),
        (np.full(64, 300), False, "codes must be between 0 and 255, not 300"),
        (np.array(["a"]), False, "wrong.npy holds no array of numbers"),
    ],
)
def test_wrong_images(
    array: object, graph: bool, message: str, board: PtyBoard, tiny: Tiny, bitkiln: Run, tmp_path: Path
) -> None:
    np.save(tmp_path / "wrong.npy", np.asarray(array))
    options = ("--graph", tiny.graph, *PLAN) if graph else ()
    found = bitkiln("infer", tmp_path / "wrong.npy", "--port", board.path, *options)
    assert (found.code, found.out) == (2, "")
    assert found.err.replace(f"{tmp_path}/", "").startswith(f"error[wrong-image]: {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--timeout", "0"), "error[bad-value]: --timeout must be more than 0 seconds, not 0"),
        (("--baud", "7"), "error[wrong-baud]: the system's serial ports cannot do 7 baud"),
        (("--board", "icebraker"), "error[unknown-board]: there is no board called 'icebraker'"),
        (("--graph", "a", "--project", "b"), "error[bad-arguments]: --graph and --project say the same"),
    ],
)
def test_wrong_options(options: tuple[str, ...], message: str, images: Path, bitkiln: Run) -> None:
    found = bitkiln("infer", images, "--port", "/dev/ttyUSB0", *options)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(message)


def test_no_board_no_file_no_bitstream(images: Path, tmp_path: Path, bitkiln: Run) -> None:
    found = bitkiln("infer", images, "--port", tmp_path / "ttyUSB0")
    assert found.code == 2
    assert found.err.startswith(f"error[no-port]: there is no serial port {tmp_path}/ttyUSB0\n  help: ")
    assert bitkiln("infer", tmp_path / "none.npy", "--port", "x").err.startswith("error[missing-file]: ")
    (tmp_path / "text.npy").write_text("text")
    assert bitkiln("infer", tmp_path / "text.npy", "--port", "x").err.startswith("error[wrong-image]: ")
    assert bitkiln("flash", tmp_path / "none.bin", "--board", "icebreaker").err.startswith("error[missing-file]: ")


def test_a_silent_port(images: Path, bitkiln: Run) -> None:
    ours, theirs = os.openpty()
    try:
        found = bitkiln("infer", images, "--port", os.ttyname(theirs), "--timeout", "0.05")
    finally:
        os.close(ours)
        os.close(theirs)
    assert found.code == 2
    assert found.err == (
        "error[no-answer]: the device did not answer IDENTIFY within 0.05 s\n"
        "  help: check the port, its baud rate, and that the board is flashed\n"
    )


def test_levels_below_the_rtl_are_of_a_board(tiny: Tiny, tmp_path: Path, bitkiln: Run) -> None:
    command = ("verify", tiny.graph, "--data", "digits", "--images", "2")
    found = bitkiln(*command, "--level", "netlist")
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "error[bad-arguments]: the level netlist is of a board\n  help: --board; see `bitkiln list boards`\n"
    )
    found = bitkiln(*command, "--bitstream", tmp_path / "none.bin", "--board", "hx8k-breakout")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error[file-error]: {tmp_path}/none.bin: No such file or directory\n")
    found = bitkiln(*command, "--level", "routed", "--board", "ulx3s-85f")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error[wrong-level]: the level routed is for iCE40, and ULX3S-85F")
