"""The block's AXI ports, driven by cocotbext-axi on Verilator: packets, registers, wrong tlast, resets."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
pytest.importorskip("cocotbext.axi", reason='the AXI bus models need pip install "bitkiln[rtl]"')

from bitkiln.hdl.ip.bench import IpSimulation, Packets
from bitkiln.hdl.ip.registers import MAGIC, Register, Status
from bitkiln.ir import ToolError
from tests.hdl.byte_adder import ByteAdder, adder_identity, adder_latency_cycles

pytestmark = pytest.mark.tools("verilator", "c++", "yosys", "cocotb")

BEATS = 6
IDENTITY = adder_identity(BEATS, 50_000_000)


def images(count: int, seed: int = 1) -> tuple[bytes, ...]:
    generator = random.Random(seed)
    return tuple(generator.randbytes(BEATS) for _ in range(count))


def sums(packets: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sum(packet).to_bytes(2, "little") for packet in packets)


@pytest.fixture
def simulation(simulation_cache: Path, tmp_path: Path) -> IpSimulation:
    return IpSimulation(ByteAdder(BEATS), IDENTITY, run_folder=tmp_path / "run", cache_folder=simulation_cache)


@pytest.mark.parametrize("pauses", [0, 128, 230])
def test_packets_and_registers(pauses: int, simulation: IpSimulation) -> None:
    sent = images(20)
    (found,) = simulation.run([Packets(sent, 20, pauses)], max_cycles=20_000)
    assert found.results == sums(sent)
    assert found.identity == IDENTITY.encode()
    registers = found.registers
    assert registers[Register.MAGIC] == MAGIC
    assert (registers[Register.IMAGES], registers[Register.RESULTS]) == (20, 20)
    assert (registers[Register.STATUS], registers[Register.WRONG_PACKETS]) == (0, 0)
    if pauses == 0:
        assert registers[Register.LATENCY] == adder_latency_cycles(BEATS)
        assert registers[Register.INTERVAL] == adder_latency_cycles(BEATS)
    else:
        assert registers[Register.LATENCY] > adder_latency_cycles(BEATS)


def test_a_wrong_tlast_is_flagged_and_the_next_image_is_right(simulation: IpSimulation) -> None:
    good = images(3)
    short, long = b"\x01\x02", bytes(range(1, BEATS + 4))
    sent = (good[0], short, good[1], long, good[2])
    (found,) = simulation.run([Packets(sent, 5, 60)], max_cycles=20_000)
    assert found.results == sums((good[0], short, good[1], long[:BEATS], good[2]))
    assert found.registers[Register.STATUS] == Status.EARLY_LAST | Status.LATE_LAST
    assert found.registers[Register.WRONG_PACKETS] == 2
    assert found.registers[Register.IMAGES] == found.registers[Register.RESULTS] == 5


@pytest.mark.parametrize("hard", [False, True], ids=["register", "pin"])
@pytest.mark.parametrize("cut", [3, 11, 20])
def test_a_reset_in_mid_image(cut: int, hard: bool, simulation: IpSimulation) -> None:
    sent = images(9, seed=cut)
    cut_short, after = simulation.run(
        [Packets(sent[:4], 0, cut_cycles=cut, hard=hard), Packets(sent[4:], 5, 100)], max_cycles=20_000
    )
    assert cut_short.results == sums(sent[: len(cut_short.results)])
    assert len(cut_short.results) < 4
    assert cut_short.registers[Register.STATUS] == cut_short.registers[Register.IMAGES] == 0
    assert after.results == sums(sent[4:])
    assert after.registers[Register.IMAGES] == after.registers[Register.RESULTS] == 5
    assert after.identity == IDENTITY.encode()


def test_a_block_that_gives_nothing_is_stuck(simulation_cache: Path, tmp_path: Path) -> None:
    deaf = ByteAdder(BEATS, is_deaf=True)
    simulation = IpSimulation(deaf, IDENTITY, run_folder=tmp_path / "run", cache_folder=simulation_cache)
    with pytest.raises(ToolError) as caught:
        simulation.run([Packets(images(1), 1)], max_cycles=500)
    assert str(caught.value) == (
        "error[simulation-stuck]: the block's AXI ports: not done within 500 cycles, in phase 0"
    )
