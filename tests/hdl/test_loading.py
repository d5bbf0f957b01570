"""Weights over the serial port, bit by bit on the line: whole or not at all, and never a result with others."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.boards import ICEBREAKER
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.board_top import HostedAccelerator
from bitkiln.hdl.host import Device
from bitkiln.hdl.link import LinkTiming
from bitkiln.hdl.plan_identity import plan_identity
from bitkiln.hdl.protocol import CHUNK_BYTES, Command, Status, encode_request, take_answer
from bitkiln.hdl.remote import infer_plan
from bitkiln.hdl.uart_simulation import UartDesign, UartSimulation
from bitkiln.hdl.verify import golden_codes
from bitkiln.hdl.weight_set import WeightSet
from bitkiln.hdl.weights import weights_of
from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.ir.units import Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from tests.passes.small_graphs import mlp

pytestmark = pytest.mark.tools("yosys", "c++")

BIT_CYCLES = 4
TIMING = LinkTiming(quiet_cycles=100 * BIT_CYCLES, watchdog_cycles=4000)
IMAGES, INPUTS = 3, 32
GRAPH = mlp((INPUTS, 24, 4))


def planned(graph: Graph, banks: int = 1) -> Plan:
    layers = (LayerFolding("fc1", storage=Storage.LOADED), LayerFolding("fc2", storage=Storage.BIG))
    return schedule(graph, PlanOptions(max_multipliers=8, renewable=True, weight_banks=banks, layers=layers))


def retrained(graph: Graph) -> Graph:
    consts = tuple(replace(const, data=const.data.flip(0)) for const in graph.consts)
    return replace(graph, consts=consts)


def switched_on(plan: Plan, cache: Path) -> UartSimulation:
    identity = plan_identity(plan, ICEBREAKER.clock_hz)
    hosted = HostedAccelerator(Accelerator(plan), identity, BIT_CYCLES, TIMING)
    design = UartDesign.of(hosted)
    return UartSimulation(design, BIT_CYCLES, patience_cycles=20_000, cache_folder=cache)


def host_of(simulation: UartSimulation, attempts: int = 3) -> Device:
    return Device(simulation, timeout_s=0, attempts=attempts)


def samples() -> torch.Tensor:
    return torch.randint(-128, 128, (IMAGES, INPUTS), generator=torch.Generator().manual_seed(0))


def check_results(host: Device, plan: Plan) -> None:
    """Demand the golden results of these weights, in the predicted cycles."""
    given, golden = golden_codes(plan, samples())
    for image, expected in zip(given[:, plan.input_order], golden[:, plan.output_order], strict=True):
        found = host.infer(image.tolist())
        assert found.codes == tuple(expected.tolist())
        assert found.latency_cycles == dataflow_cycles(plan).latency


def ask(simulation: UartSimulation, command: Command, payload: bytes) -> Status:
    simulation.write(encode_request(command, 7, payload))
    answer, _ = take_answer(simulation.read(1000), 200)
    assert answer is not None
    return answer.status


def test_no_image_runs_before_the_weights_are_there(simulation_cache: Path) -> None:
    plan = planned(GRAPH)
    host = host_of(switched_on(plan, simulation_cache))
    identity = host.identify()
    weights = weights_of(plan)
    assert (identity.load_bytes, identity.weights_digest) == (len(weights.data), None)
    with pytest.raises(ToolError) as caught:
        host.infer([0] * INPUTS)
    assert str(caught.value) == (
        "error[not-loaded]: the accelerator has no weights yet: the host loads them each time the chip has started\n"
        "  help: Device.load, or `bitkiln infer --graph`, which does it"
    )
    heard: list[int] = []
    host.load(weights, heard.append)
    assert heard == list(range(1, len(weights.chunks) + 1))
    assert host.identify() == replace(identity, weights_digest=weights.digest)
    check_results(host, plan)
    host.reset()  # which is the accelerator's own, and leaves it its weights
    check_results(host, plan)


def test_infer_loads_what_is_not_there(simulation_cache: Path) -> None:
    plan = planned(GRAPH)
    host = host_of(switched_on(plan, simulation_cache))
    assert infer_plan(host, plan, samples()).mismatches == 0
    assert infer_plan(host, planned(retrained(GRAPH)), samples()).mismatches == 0
    assert host.identify().weights_digest == weights_of(planned(retrained(GRAPH))).digest


def test_chunks_come_in_order_and_all_of_them(simulation_cache: Path) -> None:
    plan = planned(GRAPH)
    simulation, weights = switched_on(plan, simulation_cache), weights_of(plan)
    chunks = [n.to_bytes(2, "little") + chunk for n, chunk in enumerate(weights.chunks)]
    assert len(chunks) == 4
    use = b"\0" + weights.digest
    assert ask(simulation, Command.LOAD, chunks[1]) is Status.OUT_OF_ORDER
    assert ask(simulation, Command.LOAD, chunks[0]) is Status.OK
    assert ask(simulation, Command.LOAD, chunks[2]) is Status.OUT_OF_ORDER
    assert ask(simulation, Command.LOAD, chunks[1]) is Status.OK
    assert ask(simulation, Command.LOAD, chunks[1]) is Status.OK  # again, as if its answer had been lost
    assert ask(simulation, Command.SWITCH, use) is Status.NOT_LOADED
    assert ask(simulation, Command.LOAD, chunks[2]) is Status.OK
    assert ask(simulation, Command.LOAD, chunks[3]) is Status.OK
    assert ask(simulation, Command.LOAD, len(chunks).to_bytes(2, "little") + bytes(CHUNK_BYTES)) is Status.OUT_OF_ORDER
    assert ask(simulation, Command.SWITCH, use) is Status.OK
    assert ask(simulation, Command.SWITCH, use) is Status.OK
    check_results(host_of(simulation), plan)


def test_a_reset_forgets_what_was_loaded_so_far(simulation_cache: Path) -> None:
    plan = planned(GRAPH)
    simulation, weights = switched_on(plan, simulation_cache), weights_of(plan)
    host = host_of(simulation)
    for done in host.preload(weights):
        if done == 2:
            host.reset()
            break
    with pytest.raises(ToolError) as caught:
        host.switch(weights)
    assert str(caught.value) == (
        "error[not-loaded]: the device does not have all of the weights that it should use\n"
        "  help: load them again; a reset makes it forget those not in use"
    )
    sent = []
    for done in host.preload(weights):
        sent.append(done)
        if sent == [1, 2]:
            simulation.reset()
    assert sent == [1, 2, 1, 2, 3, 4]
    host.switch(weights)
    check_results(host, plan)


def test_weights_of_another_size_are_refused(simulation_cache: Path) -> None:
    host = host_of(switched_on(planned(GRAPH), simulation_cache))
    with pytest.raises(ToolError) as caught:
        host.load(WeightSet(bytes(CHUNK_BYTES)))
    assert str(caught.value) == (
        "error[wrong-weights]: this design takes 1024 bytes of weights, not 256\n"
        "  help: make them of the graph, and with the options, that it was built with"
    )


def test_a_wrong_digest_is_no_success(simulation_cache: Path) -> None:
    """Another program loads other weights in between."""
    plan, other = planned(GRAPH), weights_of(planned(retrained(GRAPH)))
    simulation = switched_on(plan, simulation_cache)
    host_of(simulation).load(other)
    with pytest.raises(ToolError) as caught:
        host_of(simulation).switch(weights_of(plan))
    assert str(caught.value) == (
        "error[wrong-weights]: the device uses other weights than those that were loaded\n"
        "  help: load them again, from one program at a time"
    )


def test_a_second_set_comes_while_the_first_is_in_use(simulation_cache: Path) -> None:
    one, other = planned(GRAPH, banks=2), planned(retrained(GRAPH), banks=2)
    host = host_of(switched_on(one, simulation_cache))
    host.load(weights_of(one))
    assert host.identify().bank == 1
    for plan, following in ((one, other), (other, one)):
        for _ in host.preload(weights_of(following)):
            check_results(host, plan)
        check_results(host, plan)
        host.switch(weights_of(following))
        check_results(host, following)


def disturb(simulation: UartSimulation, frame: bytes, rng: random.Random) -> str:
    """Send a damaged request, or take the device's memory of where it was."""
    place = rng.randrange(1, len(frame))
    kind = rng.choice(("nothing", "changed", "truncated", "more", "less", "reset"))
    match kind:
        case "changed":
            simulation.write(frame[:place] + bytes([frame[place] ^ 1 << rng.randrange(8)]) + frame[place + 1 :])
        case "truncated":
            simulation.write(frame[:place])
        case "more":
            simulation.write(frame[:place] + rng.randbytes(1) + frame[place:])
        case "less":
            simulation.write(frame[:place] + frame[place + 1 :])
        case "reset":
            simulation.write(frame[:place])
            simulation.run(place * 10 * BIT_CYCLES)
            simulation.reset()
        case _:
            return kind
    simulation.read(1000)
    return kind


@pytest.mark.slow
@pytest.mark.parametrize("banks", [1, 2])
def test_damaged_frames_and_resets_never_bring_wrong_weights_into_use(banks: int, simulation_cache: Path) -> None:
    plans = [planned(graph, banks) for graph in (GRAPH, retrained(GRAPH))]
    simulation, rng = switched_on(plans[0], simulation_cache), random.Random(banks)
    host, seen = host_of(simulation, attempts=20), set()
    for turn in range(30):
        plan = plans[turn % 2]
        weights = weights_of(plan)

        def trouble(done: int, weights: WeightSet = weights) -> None:
            number = rng.randrange(len(weights.chunks))
            payload = number.to_bytes(2, "little") + weights.chunks[number]
            wrong = rng.choice([(Command.LOAD, payload), (Command.SWITCH, bytes([1]) + weights.digest)])
            if rng.random() < 0.3:
                seen.add(disturb(simulation, encode_request(wrong[0], 9, wrong[1]), rng))

        host.load(weights, trouble)
        check_results(host, plan)
    assert len(seen) == 6
