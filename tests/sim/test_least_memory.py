"""A memory that holds no tile says what would do, and that does: on every engine, for layers of all kinds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim.accelerator import Accelerator, Sram, find_accelerator
from bitkiln.sim.engines import run_layer
from bitkiln.sim.workload import Layer
from tests.sim.networks import layers, matrix

NEED = re.compile(r"the sram for ([a-z ]+) needs ([0-9,]+) bytes(?:, double buffered)?, not")


def refusal(layer: Layer, accelerator: Accelerator) -> str:
    """What is said if no tile fits; nothing if one does."""
    try:
        run_layer(layer, accelerator)
    except ToolError as error:
        (diagnostic,) = error.diagnostics
        if diagnostic.slug == "sram-too-small":
            return str(diagnostic)
        raise
    return ""


def grown(sram: Sram, needs: dict[str, int]) -> Sram:
    holds = " and ".join(operand.value for operand in sram.holds)
    return replace(sram, capacity_bytes=needs.get(holds, sram.capacity_bytes))


@pytest.mark.parametrize("name", ["systolic-32", "tpu-like", "eyeriss-like", "xnor-array", "zero-skip"])
@settings(max_examples=30, deadline=None)
@given(layer=layers(most=40), capacity=st.sampled_from((2, 16, 64, 256)))
def test_what_is_said_to_do_does(name: str, layer: Layer, capacity: int) -> None:
    chip = find_accelerator(name)
    srams = (replace(sram, capacity_bytes=capacity, word_bits=8, banks=1) for sram in chip.sram)
    small = replace(chip, sram=tuple(srams))
    said = refusal(layer, small)
    if not said:
        return
    needs = {holds: int(size.replace(",", "")) for holds, size in NEED.findall(said)}
    assert needs, said
    assert min(needs.values()) > capacity
    enough = replace(small, sram=tuple(grown(sram, needs) for sram in small.sram))
    assert refusal(layer, enough) == ""


def test_eie_says_it_as_well() -> None:
    chip = find_accelerator("eie")
    weights, vectors = chip.sram
    small = replace(chip, sram=(replace(weights, capacity_bytes=64 * 8), vectors))
    said = refusal(matrix(1, 64, 640), small)
    (least,) = re.findall(r"the least that works is capacity_bytes = ([0-9]+) for the sram that holds weights", said)
    enough = replace(chip, sram=(replace(weights, capacity_bytes=int(least)), vectors))
    assert refusal(matrix(1, 64, 640), enough) == ""
