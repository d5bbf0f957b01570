"""Runs the block under cocotb on Verilator: packets through its AXI ports, registers read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from amaranth.lib import wiring

from bitkiln.hdl._artefacts import default_cache_folder
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.cocotb_program import CocotbDesign, Simulator, cocotb_program, run_cocotb
from bitkiln.hdl.protocol import IDENTITY_BYTES, Identity
from bitkiln.ir import fail

from .core import IpCore
from .registers import IDENTITY_ADDRESS, WORD_BYTES, Control, Register

_TEST = "ip_bench"
_READABLE = tuple(register for register in Register if register is not Register.CONTROL)
_IDENTITY = tuple(range(IDENTITY_ADDRESS, IDENTITY_ADDRESS + IDENTITY_BYTES, WORD_BYTES))


@dataclass(frozen=True)
class Packets:
    """Packets that are sent one after the other, and how many results are waited for.

    Source, sink and all channels of the registers pause in `pauses_per_256` of the cycles. If `cut_cycles` is not 0,
    the block is reset after so many cycles instead, by its pin (`hard`) or its register.
    """

    packets: tuple[bytes, ...]
    results: int
    pauses_per_256: int = 0
    cut_cycles: int = 0
    hard: bool = False


@dataclass(frozen=True)
class Found:
    """What came of `Packets`: the results, a packet each (its end is where tlast was), and the registers afterwards."""

    results: tuple[bytes, ...]
    registers: dict[Register, int]
    identity: bytes


class IpSimulation:
    """The block of an accelerator on Verilator, compiled once (`cache_folder`; default: ~/.cache/bitkiln/sim).

    >>> IpSimulation(accelerator, identity, run_folder=folder).run([Packets((image,), results=1)], max_cycles=1000)
    """

    def __init__(
        self,
        accelerator: wiring.Component,
        identity: Identity,
        *,
        run_folder: Path,
        cache_folder: Path | None = None,
        name: str = "top",
    ) -> None:
        core = IpCore(accelerator, identity)
        self._top, self._run_folder = name, run_folder.absolute()
        design = CocotbDesign(core.rtlil(name), name, tuple(core.port))
        self._program = cocotb_program(design, Simulator.VERILATOR, cache_folder or default_cache_folder())

    def run(self, packets: Sequence[Packets], *, max_cycles: int, seed: int = 1) -> tuple[Found, ...]:
        """Reset the block by its pin and send all packets.

        Raises `simulation-stuck`, `unstable-output`, `surplus-output` and `tool-failed`.
        """
        phases = [asdict(part) | {"packets": [packet.hex() for packet in part.packets]} for part in packets]
        request = {
            "phases": phases,
            "reads": (*_READABLE, *_IDENTITY),
            "control_address": Register.CONTROL,
            "reset_bit": Control.RESET,
            "seed": seed,
            "max_cycles": max_cycles,
        }
        Bundle.of({"request.json": json.dumps(request, indent=1).encode()}).write(self._run_folder)
        result = json.loads(run_cocotb(self._program, Simulator.VERILATOR, self._top, _TEST, self._run_folder))
        if result["wrong"]:
            raise fail(_slug(result["wrong"]), f"the block's AXI ports: {result['wrong']}")
        return tuple(
            _found(results, registers)
            for results, registers in zip(result["results"], result["registers"], strict=True)
        )


def _slug(wrong: str) -> str:
    if wrong.startswith("not done"):
        return "simulation-stuck"
    return "surplus-output" if wrong.startswith("more results") else "unstable-output"


def _found(results: list[str], registers: list[int]) -> Found:
    words = registers[len(_READABLE) :]
    identity = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)
    packets = tuple(bytes.fromhex(result) for result in results)
    return Found(packets, dict(zip(_READABLE, registers, strict=False)), identity)
