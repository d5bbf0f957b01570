"""Does the block do at its AXI ports what the golden model says? Bits, packets, registers, cycles and resets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.golden_codes import golden_codes, too_few
from bitkiln.hdl.protocol import Identity
from bitkiln.hdl.verification import Level, RtlSimulator, Verification, VerifyOptions
from bitkiln.hdl.verify import expected_cycles
from bitkiln.ir import Plan
from bitkiln.sim.dataflow import dataflow_cycles

from .bench import Found, IpSimulation, Packets
from .generate import component_name, ip_identity
from .packets import Golden, packets_of
from .registers import MAGIC, Register

PAUSES_PER_256 = 128
_AFTER_RESET = 2


@dataclass(frozen=True)
class _Part:
    """Packets, what must come of them (the beginning of it where a reset cuts them), and when they run."""

    name: str
    packets: Packets
    expected: tuple[bytes, ...]


def verify_ip(
    plan: Plan,
    samples: Tensor,
    options: VerifyOptions,
    cache_folder: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Verification:
    """Stream `samples` through the block, alone, one after another, under random pauses, and after resets.

    A mismatch is a wrong packet or register, a wrong cycle a LATENCY or INTERVAL other than predicted. Raises ToolError
    `too-few-samples`, `loaded-weights`, and what the simulation raises.
    """
    too_few(samples, options.images)
    codes, golden = golden_codes(plan, samples[: options.images])
    predicted = dataflow_cycles(plan)
    cycles = expected_cycles(plan, codes, predicted)
    latency, interval = int(cycles[0, -1]) + 1, int(cycles[-1, -1] - cycles[-2, -1])
    identity = ip_identity(plan)
    parts = _parts(Golden.of_codes(plan, codes, golden), identity, options, latency)
    images = sum(len(part.packets.packets) for part in parts)
    with tempfile.TemporaryDirectory(prefix="bitkiln-verify-") as folder:
        on_step("compile the block")
        simulation = IpSimulation(
            Accelerator(plan),
            identity,
            run_folder=Path(folder) / "run",
            cache_folder=cache_folder,
            name=component_name(plan),
        )
        on_step(f"stream {images} images through the AXI ports")
        # Pauses on both sides stretch a run to some times its length; ten times means that it is stuck.
        limit = 10 * (predicted.latency + predicted.interval) * (images + len(parts)) + 10_000
        found = simulation.run([part.packets for part in parts], max_cycles=limit, seed=options.seed)
    wrong = [text for part, came in zip(parts, found, strict=True) for text in _differences(part, came, identity)]
    measured = (found[0].registers[Register.LATENCY], found[1].registers[Register.INTERVAL])
    return Verification(
        images=len(codes),
        mismatches=len(wrong),
        cycle_mismatches=sum(one != other for one, other in zip(measured, (latency, interval), strict=True)),
        rtl_latency=measured[0],
        rtl_interval=measured[1],
        predicted_latency=latency,
        predicted_interval=interval,
        simulator=RtlSimulator.COCOTB,
        back_pressure_images=len(codes) if options.back_pressure else 0,
        cycles=0,
        findings="\n".join(wrong),
        level=Level.IP,
    )


def _parts(golden: Golden, identity: Identity, options: VerifyOptions, latency: int) -> list[_Part]:
    images = tuple(packet.tobytes() for packet in packets_of(golden.images, identity.input))
    results = tuple(packet.tobytes() for packet in packets_of(golden.results, identity.output))
    count = len(images)
    parts = [
        _Part("alone", Packets(images[:1], 1), results[:1]),
        _Part("one after another", Packets(images, count), results),
    ]
    if options.back_pressure:
        parts.append(_Part("under pauses", Packets(images, count, PAUSES_PER_256), results))
    for hard, way in ((False, "register"), (True, "pin")):
        # In the middle of an image that follows another one.
        cut = Packets(images[:3], 0, cut_cycles=latency + latency // 2, hard=hard)
        after = Packets(images[:_AFTER_RESET], _AFTER_RESET, PAUSES_PER_256 if options.back_pressure else 0)
        parts += [
            _Part(f"until a reset by {way}", cut, results[:3]),
            _Part(f"after a reset by {way}", after, results[:_AFTER_RESET]),
        ]
    return parts


def _differences(part: _Part, found: Found, identity: Identity) -> Iterator[str]:
    """Say what is wrong in a part; the counters are those since the last reset, or the part before."""
    for number, (came, expected) in enumerate(zip(found.results, part.expected, strict=False)):
        if came != expected:
            yield f"{part.name}: result {number} is {came.hex()}, expected {expected.hex()}"
    is_cut = bool(part.packets.cut_cycles)
    if not is_cut and len(found.results) != len(part.expected):
        yield f"{part.name}: {len(found.results)} results, expected {len(part.expected)}"
    if found.identity != identity.encode():
        yield f"{part.name}: the identity reads {found.identity.hex()}, expected {identity.encode().hex()}"
    registers = found.registers
    expected_registers = {Register.MAGIC: MAGIC, Register.STATUS: 0, Register.WRONG_PACKETS: 0}
    if is_cut:
        expected_registers |= {Register.IMAGES: 0, Register.RESULTS: 0}
    for register, value in expected_registers.items():
        if registers[register] != value:
            yield f"{part.name}: {register.name} reads {registers[register]:#x}, expected {value:#x}"
    if registers[Register.IMAGES] != registers[Register.RESULTS]:
        yield f"{part.name}: {registers[Register.IMAGES]} images, but {registers[Register.RESULTS]} results"
