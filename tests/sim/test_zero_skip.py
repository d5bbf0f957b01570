"""What zeros save on the zero-skipping engine, and what their metadata cost."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from bitkiln.ir import ToolError
from bitkiln.ir.coding import Format, stored
from bitkiln.sim.accelerator import Accelerator, Zeros, ZeroSkip, find_accelerator, read_accelerator
from bitkiln.sim.counts import Access, Level, Purpose, Role
from bitkiln.sim.energy import counts_energy
from bitkiln.sim.engine import LayerRun
from bitkiln.sim.engines import run_layer
from bitkiln.sim.sparsity import masks
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.workload import Layer, LayerKind

CHIP = find_accelerator("zero-skip")
LAYER = Layer(
    "conv",
    LayerKind.CONVOLUTION,
    14,
    14,
    64,
    48,
    (3, 3),
    padding=((1, 1), (1, 1)),
    given_weight_density=0.3,
    given_activation_density=0.5,
)


def chip(weights: Zeros = Zeros.SKIP, activations: Zeros = Zeros.SKIP, format_: Format | None = None) -> Accelerator:
    assert isinstance(CHIP.engine, ZeroSkip)
    engine = replace(CHIP.engine, weight_zeros=weights, activation_zeros=activations)
    if format_ is not None:
        engine = replace(engine, weight_format=format_, activation_format=format_)
    return replace(CHIP, zero_skip=engine)


def run(weights: Zeros, activations: Zeros) -> LayerRun:
    return run_layer(LAYER, chip(weights, activations))


def energy_pj(found: LayerRun) -> float:
    return counts_energy(found.counts, find_technology("65nm")).total_pj


@pytest.mark.parametrize(("weights", "activations"), list(itertools.product(Zeros, Zeros)))
def test_every_product_is_performed_gated_or_skipped(weights: Zeros, activations: Zeros) -> None:
    found = run(weights, activations)
    products = sum(item.count for item in found.counts.arithmetic if item.purpose is Purpose.PRODUCT)
    assert found.performed_macs == products
    assert found.performed_macs + found.gated_macs + found.skipped_macs == LAYER.macs
    assert (found.gated_macs > 0) == (Zeros.GATE in (weights, activations))
    assert (found.skipped_macs > 0) == (Zeros.SKIP in (weights, activations))
    assert found.compute_cycles == -(-(LAYER.macs - found.skipped_macs) // 192)


def test_gating_saves_energy_and_skipping_time_too() -> None:
    plain, gated, skipped = (run(zeros, zeros) for zeros in (Zeros.COMPUTE, Zeros.GATE, Zeros.SKIP))
    assert plain.cycles == gated.cycles > 5 * skipped.cycles
    assert energy_pj(plain) > energy_pj(gated) > energy_pj(skipped)
    assert gated.performed_macs == skipped.performed_macs < plain.performed_macs == LAYER.macs


def test_more_zeros_never_cost_more() -> None:
    """Masks of one seed are nested: a smaller density drops values and adds none."""
    runs = [run_layer(replace(LAYER, given_weight_density=density), chip()) for density in (1.0, 0.6, 0.3, 0.1, 0.0)]
    for more, fewer in itertools.pairwise(runs):
        assert fewer.performed_macs < more.performed_macs
        assert fewer.compute_cycles < more.compute_cycles
        assert fewer.bytes(Level.DRAM) < more.bytes(Level.DRAM)
    assert runs[-1].performed_macs == 0


@pytest.mark.parametrize("format_", Format)
def test_metadata_are_in_the_bill(format_: Format) -> None:
    found = run_layer(LAYER, chip(format_=format_))
    weights, activations = masks(LAYER)
    held = stored(np.moveaxis(weights, 0, -1), 8, format_), stored(np.moveaxis(activations, 1, -1), 8, format_)
    moved = {access.memory.role: access for access in _merged(found) if access.memory.level is Level.DRAM}
    assert moved[Role.WEIGHTS].read_bits == held[0].value_bits
    reloads = moved[Role.ACTIVATIONS].read_bits / held[1].value_bits
    metadata = moved[Role.INDICES].read_bits if Role.INDICES in moved else 0
    assert metadata == pytest.approx(held[0].metadata_bits + reloads * held[1].metadata_bits, abs=1)
    assert (metadata == 0) == (format_ is Format.DENSE)


def _merged(found: LayerRun) -> tuple[Access, ...]:
    return found.counts.merged().accesses


def test_elements_that_get_no_pixel_are_load_imbalance() -> None:
    """A single pixel is work for one of twelve lanes."""
    layer = Layer("fc", LayerKind.MATRIX, 1, 1, 96, 64, given_weight_density=1.0)
    found = run_layer(layer, chip(Zeros.COMPUTE, Zeros.COMPUTE))
    stalls = {stall.cause.value: stall.cycles for stall in found.stalls}
    assert found.compute_cycles == 96 * 64 // 192
    assert stalls["load imbalance"] == 96 * 64 // 16 - 96 * 64 // 192


def test_values_of_the_layer_are_used() -> None:
    weights = np.zeros((48, 64, 3, 3), np.float32)
    weights[:, 5] = 1
    activations = np.zeros((1, 64, 14, 14), np.float32)
    activations[:, 5, 1:-1, 1:-1] = 1
    found = run_layer(replace(LAYER, weights=weights, activations=activations), chip())
    assert found.performed_macs == 48 * 9 * 144  # no pixel at the border, so all nine places see each of them


def test_an_unknown_way_with_zeros_is_refused() -> None:
    text = resources.files("bitkiln.sim").joinpath("accelerators", "zero-skip.toml").read_text("utf-8")
    with pytest.raises(ToolError) as error:
        read_accelerator(text.replace('weight_zeros = "skip"', 'weight_zeros = "drop"'), "x.toml")
    assert str(error.value.diagnostics[0]) == (
        "error[bad-value]: x.toml.zero_skip.weight_zeros: 'drop' is not one of the known values\n"
        "  help: known: compute, gate, skip"
    )
