"""The whole top level, bit by bit on the line, behind a pseudo-terminal: the host program knows no difference."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.hdl.board_top import HostedAccelerator
from bitkiln.hdl.host import LAST_TAG, Device, Inference
from bitkiln.hdl.link import LinkTiming
from bitkiln.hdl.protocol import Command, encode_request
from bitkiln.hdl.serial_port import SerialPort
from bitkiln.hdl.uart_simulation import UartDesign, UartSimulation
from bitkiln.ir import ToolError
from tests.hdl.byte_adder import ByteAdder, adder_identity
from tests.hdl.pty_board import PtyBoard

pytestmark = pytest.mark.tools("yosys", "c++")

BEATS = 8
BIT_CYCLES = 4
IDENTITY = adder_identity(BEATS, 4_000_000)
TIMING = LinkTiming(quiet_cycles=100 * BIT_CYCLES, watchdog_cycles=4000)
FRAMES = 1000


def simulation(cache: Path, *, is_deaf: bool = False) -> UartSimulation:
    hosted = HostedAccelerator(ByteAdder(BEATS, is_deaf=is_deaf), IDENTITY, BIT_CYCLES, TIMING)
    return UartSimulation(UartDesign.of(hosted), BIT_CYCLES, patience_cycles=20_000, cache_folder=cache)


@pytest.fixture
def board(simulation_cache: Path) -> Iterator[PtyBoard]:
    with PtyBoard(simulation(simulation_cache)) as board:
        yield board


@pytest.fixture
def port(board: PtyBoard) -> Iterator[SerialPort]:
    with SerialPort(board.path, 1_000_000) as port:
        yield port


def test_the_simulation_is_a_port_by_itself(simulation_cache: Path) -> None:
    switched_on = simulation(simulation_cache)
    host = Device(switched_on, timeout_s=0)
    assert host.identify() == IDENTITY
    before = switched_on.cycles
    assert host.infer(range(BEATS)) == Inference((sum(range(BEATS)),), BEATS + 1)
    request, answer = 16 + BEATS, 16 + 4 + 2
    assert switched_on.cycles - before > (request + answer) * 10 * BIT_CYCLES


def test_bytes_that_could_not_go_out_are_kept(simulation_cache: Path) -> None:
    switched_on = simulation(simulation_cache)
    switched_on.write(encode_request(Command.RESET, 9))
    assert switched_on.run(5 * 10 * BIT_CYCLES) == b""  # five of its bytes are out
    assert switched_on.read(100)[:8] == b"bk\x00\x00\x09\x00\x00\x00"


def test_a_stuck_accelerator_is_an_error_not_a_hang(simulation_cache: Path) -> None:
    with pytest.raises(ToolError, match="device-stuck"):
        Device(simulation(simulation_cache, is_deaf=True), timeout_s=0).infer(range(BEATS))


def test_the_host_program_on_a_pseudo_terminal(port: SerialPort) -> None:
    host = Device(port)
    assert host.identify() == IDENTITY
    assert host.infer([255] * BEATS) == Inference((255 * BEATS,), BEATS + 1)
    host.reset()


def disturb(port: SerialPort, board: PtyBoard) -> str:
    """Do to the link what should not be done, and return its name."""
    frame = encode_request(Command.INFER, 1 + random.randrange(LAST_TAG), random.randbytes(BEATS))
    place = random.randrange(1, len(frame))
    kind = random.choice(("nothing", "garbage", "truncated", "wrong CRC", "more", "less", "reset", "two at once"))
    match kind:
        case "garbage":
            port.write(random.randbytes(random.randint(1, 40)))
        case "truncated":
            port.write(frame[:place])
        case "wrong CRC":
            port.write(frame[:place] + bytes([frame[place] ^ 1 << random.randrange(8)]) + frame[place + 1 :])
        case "more":
            port.write(frame[:place] + random.randbytes(1) + frame[place:])
        case "less":
            port.write(frame[:place] + frame[place + 1 :])
        case "reset":
            port.write(frame[:place])
            board.reset()
            port.write(frame[place:])
        case "two at once":
            port.write(frame + frame)
        case _:
            assert kind == "nothing"
    return kind


@pytest.mark.slow
def test_1000_random_frames_never_hang_and_never_lie(board: PtyBoard, port: SerialPort) -> None:
    # A disturbance can swallow a request, or its quiet time an answer: then the host waits and sends again.
    host = Device(port, timeout_s=0.06, attempts=500)
    seen = set()
    for _ in range(FRAMES):
        seen.add(disturb(port, board))
        image = list(random.randbytes(BEATS))
        assert host.infer(image) == Inference((sum(image),), BEATS + 1)
    assert len(seen) == 8


def infer_for_ever(host: Device) -> None:
    while True:
        host.infer(range(BEATS))


def test_unplugged_in_the_midst_of_a_run(board: PtyBoard, port: SerialPort) -> None:
    host = Device(port)
    host.identify()
    timer = threading.Timer(0.2, board.unplug)
    timer.start()
    with pytest.raises(ToolError) as caught:
        infer_for_ever(host)
    timer.join()
    assert str(caught.value) == (
        f"error[port-lost]: {board.path} has gone while it was in use\n"
        "  help: plug the board in again and repeat the command; nothing was changed in it"
    )


def test_two_programs_cannot_use_one_port(board: PtyBoard, port: SerialPort) -> None:
    with pytest.raises(ToolError) as caught:
        SerialPort(board.path, 1_000_000)
    assert str(caught.value) == (
        f"error[port-busy]: another program uses {board.path}\n"
        "  help: close the terminal or the other bitkiln that has it open"
    )
    port.close()
    port.close()
    with SerialPort(board.path, 115_200) as again:
        assert Device(again).identify() == IDENTITY
