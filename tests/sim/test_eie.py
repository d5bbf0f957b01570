"""EIE as an engine: counts against the machine of the reference, drawn masks, what it refuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim._tiles import Residence
from bitkiln.sim.accelerator import Accelerator, Eie, find_accelerator
from bitkiln.sim.counts import Counts, Level, Operation, Purpose, Role
from bitkiln.sim.eie import eie, stored_bits
from bitkiln.sim.engine import StallCause
from bitkiln.sim.engines import run_layer
from bitkiln.sim.workload import Layer, LayerKind
from tests.sim.eie_reference import Machine

ALL_STAYS = Residence(has_input=True, has_output=True, has_weights=True)
CHIP = find_accelerator("eie")
assert CHIP.eie
ENGINE = CHIP.eie


def matrix(name: str, inputs: int, outputs: int, weights: float, activations: float) -> Layer:
    return Layer(
        name,
        LayerKind.MATRIX,
        1,
        1,
        inputs,
        outputs,
        given_weight_density=weights,
        given_activation_density=activations,
    )


def chip(engine: Eie) -> Accelerator:
    return replace(CHIP, eie=engine)


def accesses(counts: Counts, level: Level) -> dict[Role, tuple[int, int]]:
    """Values read and written at one level by role; words of several values count as these."""
    totals: Counter[tuple[Role, bool]] = Counter()
    for access in counts.accesses:
        if access.memory.level is level:
            totals[access.memory.role, False] += access.reads
            totals[access.memory.role, True] += access.writes
    return {role: (totals[role, False], totals[role, True]) for role, _ in totals}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 3),
    elements=st.integers(1, 6),
    density=st.sampled_from((0.05, 0.3, 1.0)),
)
def test_counts_are_those_of_the_machine(seed: int, images: int, elements: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.integers(1, 9, (21, 13)) * (generator.random((21, 13)) < density)
    inputs = generator.integers(1, 9, (images, 13)) * (generator.random((images, 13)) < 0.6)
    layer = Layer(
        "fc",
        LayerKind.MATRIX,
        1,
        1,
        13,
        21,
        batch=images,
        weights=weights.astype(np.float32),
        activations=inputs.astype(np.float32),
    )
    engine = replace(ENGINE, elements=elements, queue_places=4)
    run = eie(layer, engine, chip(engine), ALL_STAYS)
    machines = [Machine(weights.tolist(), vector.tolist(), elements, 4, 4) for vector in inputs]
    assert run.cycles == sum(machine.run() for machine in machines)
    parts = [part for machine in machines for part in machine.parts]
    broadcasts = sum(machine.broadcasts for machine in machines)
    entries = sum(part.entries for part in parts)
    assert run.compute_cycles == -(-entries // elements)
    assert run.performed_macs == int(((weights > 0).astype(int) @ (inputs.T > 0).astype(int)).sum())
    assert run.performed_macs + run.skipped_macs == layer.macs
    products = {item.purpose: item.count for item in run.counts.arithmetic}
    assert products == {
        Purpose.PRODUCT: run.performed_macs,
        Purpose.FILLER: entries - run.performed_macs,
        Purpose.ACCUMULATE: entries,
        Purpose.ADDRESS: entries,
    }
    sram, registers = accesses(run.counts, Level.SRAM), accesses(run.counts, Level.REGISTER)
    words = sum(part.word_reads for part in parts)
    assert sram[Role.WEIGHTS] == sram[Role.INDICES] == (words, 0)
    assert sram[Role.POINTERS] == (2 * broadcasts * elements, 0)
    assert sram[Role.OUTPUTS] == (0, images * 21)
    assert registers[Role.CODEBOOK] == (entries, 0)
    assert registers[Role.QUEUE] == (entries + broadcasts * elements, 2 * broadcasts * elements)
    assert accesses(run.counts, Level.DRAM) == {}


def test_drawn_layer_by_hand() -> None:
    """The draw of the docstring, done here once more."""
    layer, engine = matrix("fc", 256, 200, 0.1, 0.35), ENGINE
    generator = np.random.default_rng(5)
    live = generator.random(256) < 0.35
    weights = np.zeros((200, 256), np.float32)
    for element in range(64):
        weights[element::64] = (generator.random((256, len(range(element, 200, 64)))) < 0.1).T
    given_ = replace(layer, weights=weights, activations=live.astype(np.float32))
    drawn, by_hand = eie(layer, engine, CHIP, seed=5), eie(given_, engine, CHIP)
    assert (drawn.cycles, drawn.counts, drawn.stalls) == (by_hand.cycles, by_hand.counts, by_hand.stalls)


def test_compressed_weights_are_loaded_unless_they_stay() -> None:
    layer, engine = matrix("fc7", 1024, 512, 0.1, 0.3), ENGINE
    moved, kept = eie(layer, engine, CHIP), eie(layer, engine, CHIP, ALL_STAYS)
    bits = 8 * (moved.bytes(Level.DRAM) - kept.bytes(Level.DRAM)) - 16 * (1024 + 512)
    pointers, table = 1025 * 64 * 16, 16 * 16
    assert bits == stored_bits(layer, engine, CHIP) + pointers + table
    stalls = {stall.cause for stall in moved.stalls} - {stall.cause for stall in kept.stalls}
    assert stalls == {StallCause.FIRST_TILE, StallCause.LAST_TILE}


def test_pixels_of_a_one_by_one_convolution_are_vectors() -> None:
    generator = np.random.default_rng(2)
    weights = (generator.random((24, 16, 1, 1)) < 0.3).astype(np.float32)
    pixels = (generator.random((2, 16, 3, 4)) < 0.5).astype(np.float32)
    convolution = Layer("c", LayerKind.CONVOLUTION, 3, 4, 16, 24, batch=2, weights=weights, activations=pixels)
    rows = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1).reshape(24, 16))
    product = Layer("m", LayerKind.MATRIX, 1, 1, 16, 24, batch=24, weights=weights, activations=rows)
    assert run_layer(convolution, CHIP).counts == run_layer(product, CHIP).counts
    assert run_layer(convolution, CHIP).cycles == run_layer(product, CHIP).cycles


def test_nothing_to_do_takes_the_rows_alone() -> None:
    run = eie(matrix("fc", 640, 64, 0.1, 0.0), ENGINE, CHIP, ALL_STAYS)
    assert (run.compute_cycles, run.cycles, run.performed_macs) == (0, 10, 0)
    assert run.counts.operations(Operation.MULTIPLY) == 0


REFUSED = [
    (
        Layer("conv2", LayerKind.CONVOLUTION, 8, 8, 4, 4, (3, 3)),
        "it slides a 3x3 kernel; EIE multiplies a matrix and a vector",
    ),
    (Layer("dw", LayerKind.CONVOLUTION, 8, 8, 4, 4, groups=4), "it has 4 groups; EIE multiplies one matrix"),
    (
        Layer("scores", LayerKind.MATRIX, 8, 1, 4, 8, has_constant_weights=False),
        "both its operands are computed, and EIE compresses one beforehand",
    ),
]


@pytest.mark.parametrize(("layer", "why"), REFUSED, ids=lambda value: getattr(value, "name", ""))
def test_what_it_cannot_map(layer: Layer, why: str) -> None:
    with pytest.raises(ToolError) as error:
        run_layer(layer, CHIP)
    assert str(error.value.diagnostics[0]) == (
        f"error[unmappable-layer]: eie cannot compute the layer {layer.name}: {why}\n"
        "  help: engines that can: systolic, vector, row_stationary, zero_skip"
    )


def test_what_does_not_fit_says_how_much_would() -> None:
    layer = matrix("fc6", 9216, 4096, 0.5, 0.35)
    with pytest.raises(ToolError) as error:
        run_layer(layer, CHIP)
    message = str(error.value.diagnostics[0])
    assert message == (
        "error[sram-too-small]: layer fc6 does not fit on eie: of its compressed weights an element holds 295,821 "
        "bytes, and its memory 131,072\n"
        "  help: the least that works is capacity_bytes = 18932544 for the sram that holds weights"
    )
    sram = replace(CHIP.sram[0], capacity_bytes=18932544)
    assert run_layer(layer, replace(CHIP, sram=(sram, *CHIP.sram[1:]))).cycles > 0
    with pytest.raises(ToolError):
        run_layer(layer, replace(CHIP, sram=(replace(sram, capacity_bytes=18932544 - 64), *CHIP.sram[1:])))
