"""The real accelerator behind the host link: what the host program gets is what the golden model says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from bitkiln.boards import ICEBREAKER
from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.beats import pack
from bitkiln.hdl.host import Device
from bitkiln.hdl.link import LinkTiming
from bitkiln.hdl.plan_identity import plan_identity
from bitkiln.hdl.protocol import Command, Status, encode_request, take_answer
from bitkiln.hdl.verify import golden_codes
from bitkiln.ir import Plan
from bitkiln.ir.ops import MaxPool2d, Relu, Reshape
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from tests.hdl.simulated_device import SimulatedDevice
from tests.passes.networks import Network, context

IMAGES = 4
TIMING = LinkTiming(quiet_cycles=40, watchdog_cycles=2000)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A convolution, a pooling and a linear layer."""
    network = Network((1, 6, 6))
    x = network.op(Relu(), network.conv(network.x, 2, "conv1"), name="relu1")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool1")
    x = network.op(Reshape((1, 8)), x, name="flatten")
    graph = network.graph(network.linear(x, 3, "fc"))
    return schedule(Quantise().run(graph, context(graph)), PlanOptions(max_multipliers=8))


@pytest.fixture
def device(plan: Plan) -> SimulatedDevice:
    return SimulatedDevice(Accelerator(plan), plan_identity(plan, ICEBREAKER.clock_hz), TIMING, patience_cycles=3000)


@pytest.fixture(scope="module")
def codes(plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The codes of some images and of their results, in the order of the streams."""
    given, golden = golden_codes(plan, torch.randn(IMAGES, 1, 6, 6))
    return given[:, plan.input_order], golden[:, plan.output_order]


def test_each_image_has_its_golden_result_and_the_predicted_latency(
    plan: Plan, device: SimulatedDevice, codes: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> None:
    host = Device(device, timeout_s=0)
    latency_cycles = dataflow_cycles(plan).latency
    for given, golden in zip(*codes, strict=True):
        result = host.infer(given.tolist())
        assert result.codes == tuple(golden.tolist())
        assert result.latency_cycles == latency_cycles


def test_what_goes_wrong_between_leaves_no_trace(
    device: SimulatedDevice, codes: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> None:
    host = Device(device, timeout_s=0)
    (first, second, *_), (_, golden, *_) = codes
    payload = host.identify().input.pack(first.tolist())
    good = encode_request(Command.INFER, 200, payload)
    for broken in (good[:-1] + bytes([good[-1] ^ 1]), good[:20], b"garbage"):
        device.write(broken)
        answer, _ = take_answer(device.read(1000) + device.read(1000), 100)
        assert answer is not None
        assert answer.status is not Status.OK
        assert host.infer(second.tolist()).codes == tuple(golden.tolist())


@pytest.mark.parametrize("cut", [1, 7, 20, 35])
def test_a_reset_in_the_middle_of_an_image_leaves_no_trace(
    plan: Plan, codes: tuple[NDArray[np.int64], NDArray[np.int64]], cut: int
) -> None:
    accelerator, reset = Accelerator(plan), Signal()
    (first, second, *_), (_, golden, *_) = codes
    image, result = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    came: list[int] = []

    async def feed(ctx: Any) -> None:
        ctx.set(accelerator.o.ready, 1)
        await send(ctx, pack(first, image)[:cut])
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        came.clear()
        await send(ctx, pack(second, image))
        await ctx.tick().repeat(2 * dataflow_cycles(plan).latency)

    async def send(ctx: Any, beats: NDArray[np.uint8]) -> None:
        ctx.set(accelerator.i.valid, 1)
        for beat in beats:
            ctx.set(accelerator.i.payload, int.from_bytes(beat.tobytes(), "little"))
            await ctx.tick().until(accelerator.i.ready)
        ctx.set(accelerator.i.valid, 0)

    async def take(ctx: Any) -> None:
        stream = accelerator.o
        async for _, _, valid, payload in ctx.tick().sample(stream.valid, stream.payload):
            if valid:
                came.append(payload)

    simulator = Simulator(ResetInserter(reset)(accelerator))
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(take, background=True)
    simulator.run()
    expected = pack(golden, result)
    assert came == [int.from_bytes(beat.tobytes(), "little") for beat in expected]
