"""Whole simulations: totals, properties that hold on every engine, JSON, and messages for what cannot be."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim.accelerator import Accelerator, ArithmeticKind, DramKind, find_accelerator
from bitkiln.sim.counts import Level, Role
from bitkiln.sim.energy import Kind, counts_energy
from bitkiln.sim.simulate import Simulation, simulate, with_dram
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import Price, Technology
from bitkiln.sim.tiling import Objective
from bitkiln.sim.topology import parse_topology
from bitkiln.sim.workload import Layer, Workload
from tests.sim.networks import ALEXNET_TOPOLOGY, chain, convolution, layers, matrix

DENSE = ("systolic-32", "tpu-like", "eyeriss-like")
TECHNOLOGY = find_technology("45nm")
KEYS = {
    *("compute_cycles", "cycles", "stalls", "macs", "performed_macs", "gated_macs", "skipped_macs", "utilisation"),
    *(
        "energy_pj",
        "energy",
        "energy_by_kind",
        "dram_bytes",
        "sram_bytes",
        "register_bytes",
        "network_bytes",
        "accesses",
    ),
}


def alone(layer: Layer, accelerator: Accelerator, objective: Objective = Objective.TRAFFIC) -> Simulation:
    """One layer that fetches everything and keeps nothing."""
    return simulate(Workload("one", (layer,)), accelerator, TECHNOLOGY, objective, can_stay=False)


@pytest.fixture(scope="module")
def alexnet() -> Simulation:
    return simulate(parse_topology(ALEXNET_TOPOLOGY, "alexnet.csv"), find_accelerator("systolic-32"), TECHNOLOGY)


def test_totals_are_sums(alexnet: Simulation) -> None:
    assert alexnet.compute_cycles == 1_136_244
    assert alexnet.cycles == sum(run.cycles for run in alexnet.runs)
    assert alexnet.counts.macs == alexnet.workload.macs == 805_118_496
    assert alexnet.energy.total_pj == pytest.approx(sum(energy.total_pj for energy in alexnet.energies))
    assert alexnet.seconds == alexnet.cycles / 1e9
    assert alexnet.utilisation == alexnet.workload.macs / (1024 * alexnet.cycles)
    stalls = sum(alexnet.stalls.values())
    assert alexnet.cycles == alexnet.compute_cycles + stalls


def test_json_has_the_same_keys_for_the_total_and_every_layer(alexnet: Simulation) -> None:
    plain = json.loads(json.dumps(alexnet.to_plain(), allow_nan=False))
    total, found = plain["total"], plain["layers"]
    assert set(total) == KEYS
    assert {frozenset(layer) for layer in found} == {
        frozenset(KEYS | {"name", "place", "mapping", "input_stays", "output_stays"})
    }
    for key in ("compute_cycles", "cycles", "macs", "energy_pj", "dram_bytes", "sram_bytes", "register_bytes"):
        assert total[key] == pytest.approx(sum(layer[key] for layer in found)), key
    assert total["energy_pj"] == pytest.approx(sum(total["energy_by_kind"].values()))
    levels = {entry.pop("level"): entry for entry in total["accesses"]}
    assert sum(role["bytes"] for role in levels["dram"].values()) == pytest.approx(total["dram_bytes"])
    assert levels["dram"]["outputs"]["writes"] == sum(layer.output_count for layer in alexnet.workload.layers)
    assert (plain["workload"], plain["accelerator"], plain["technology"]) == ("alexnet", "systolic-32", "45nm")
    assert plain["energy_unit"] == "pJ"


def test_relative_energies_are_no_picojoules() -> None:
    simulation = alone(convolution(15, 16, 16, 3), find_accelerator("eyeriss-like"))
    relative = simulate(simulation.workload, simulation.accelerator, find_technology("eyeriss-relative"))
    plain = relative.to_plain()
    total = plain["total"]
    assert isinstance(total, dict)
    assert plain["energy_unit"] == "MAC"
    assert total["energy_pj"] is None
    assert total["energy"] == relative.energy.total_pj > relative.workload.macs


@pytest.mark.parametrize("name", DENSE)
@given(layer=layers())
def test_traffic_is_never_below_what_must_be_moved(name: str, layer: Layer) -> None:
    accelerator = find_accelerator(name)
    (run,) = alone(layer, accelerator).runs
    values: dict[tuple[Level, Role], tuple[int, int]] = {
        (a.memory.level, a.memory.role): (a.reads, a.writes) for a in run.counts.accesses
    }
    assert values[Level.DRAM, Role.WEIGHTS][0] >= layer.weight_count
    assert values[Level.DRAM, Role.OUTPUTS] == (0, layer.output_count)
    touched = _touched(layer)
    assert values[Level.DRAM, Role.ACTIVATIONS][0] >= touched
    assert values[Level.SRAM, Role.WEIGHTS][0] >= layer.weight_count
    assert values[Level.SRAM, Role.WEIGHTS][1] == values[Level.DRAM, Role.WEIGHTS][0]
    assert values[Level.REGISTER, Role.WEIGHTS][0] == layer.macs


def _touched(layer: Layer) -> int:
    """Input values that some product uses."""
    seen = [set(), set()]  # type: list[set[int]]
    for axis, size in enumerate((layer.height, layer.width)):
        for place, tap in itertools.product(range(layer.output[axis]), range(layer.kernel[axis])):
            at = place * layer.stride[axis] - layer.padding[axis][0] + tap * layer.dilation[axis]
            if 0 <= at < size:
                seen[axis].add(at)
    return layer.batch * layer.channels * len(seen[0]) * len(seen[1])


@pytest.mark.parametrize("name", DENSE)
@settings(max_examples=30)
@given(layer=layers(), objective=st.sampled_from(Objective))
def test_a_faster_dram_is_never_slower(name: str, layer: Layer, objective: Objective) -> None:
    accelerator = find_accelerator(name)
    rates = [replace(accelerator.dram, bytes_per_second=rate) for rate in (1e8, 1e9, 1e11)]
    cycles = [alone(layer, replace(accelerator, dram=dram), objective).cycles for dram in rates]
    assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("name", ["systolic-32", "tpu-like"])
@settings(max_examples=30)
@given(layer=layers(), can_stay=st.booleans())
def test_more_sram_never_moves_more(name: str, layer: Layer, can_stay: bool) -> None:
    """From a size on at which whole folds fit: rows of the array that stay empty are not worth the bytes."""
    accelerator = find_accelerator(name)
    workload = Workload("one", (layer,))
    moved = []
    for factor in (1, 2, 8):
        srams = tuple(replace(sram, capacity_bytes=factor * sram.capacity_bytes // 8) for sram in accelerator.sram)
        found = simulate(workload, replace(accelerator, sram=srams), TECHNOLOGY, can_stay=can_stay)
        moved.append(found.counts.bits(Level.DRAM))
    assert moved == sorted(moved, reverse=True)


@settings(max_examples=30)
@given(layer=layers(), lanes=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_more_elements_never_compute_longer(layer: Layer, lanes: tuple[int, int]) -> None:
    """Of dot products; a larger systolic array also fills and drains longer, as its closed form says."""
    accelerator = find_accelerator("tpu-like")
    assert accelerator.vector is not None
    small = replace(accelerator, vector=replace(accelerator.vector, input_lanes=lanes[0], output_lanes=lanes[1]))
    wide = replace(accelerator, vector=replace(accelerator.vector, input_lanes=2 * lanes[0], output_lanes=lanes[1]))
    tall = replace(accelerator, vector=replace(accelerator.vector, input_lanes=lanes[0], output_lanes=lanes[1] + 1))
    least = alone(layer, small).compute_cycles
    assert alone(layer, wide).compute_cycles <= least
    assert alone(layer, tall).compute_cycles <= least


@pytest.mark.parametrize("name", DENSE)
def test_energy_is_linear_in_the_table_and_the_counts_do_not_depend_on_it(name: str) -> None:
    workload = chain("two", convolution(15, 8, 16, 3), convolution(13, 16, 8, 3))
    accelerator = find_accelerator(name)
    accelerator = replace(accelerator, dram=replace(accelerator.dram, kind=DramKind.TECHNOLOGY))
    one = simulate(workload, accelerator, TECHNOLOGY)
    two = simulate(workload, accelerator, _dearer(TECHNOLOGY, 3.0))
    assert two.energy.total_pj == pytest.approx(3 * one.energy.total_pj)
    assert two.counts == one.counts
    assert two.cycles == one.cycles
    assert dict(one.energy)[Kind.DRAM] == pytest.approx(one.counts.bits(Level.DRAM) * 20.0)


def _dearer(technology: Technology, factor: float) -> Technology:
    def more(*prices: Price) -> tuple[Price, ...]:
        return tuple(replace(price, energy=factor * price.energy) for price in prices)

    assert technology.network is not None
    return replace(
        technology,
        add=more(*technology.add),
        multiply=more(*technology.multiply),
        sram=tuple(replace(price, energy=factor * price.energy) for price in technology.sram),
        register=more(technology.register)[0],
        dram=more(technology.dram)[0],
        network=more(technology.network)[0],
    )


def test_energy_is_counts_times_prices(alexnet: Simulation) -> None:
    for run, energy in zip(alexnet.runs, alexnet.energies, strict=True):
        assert energy == counts_energy(run.counts, alexnet.technology)
    assert counts_energy(alexnet.counts, alexnet.technology).total_pj == pytest.approx(alexnet.energy.total_pj)


def test_alike_layers_are_computed_once_and_keep_their_names() -> None:
    same = [convolution(14, 32, 32, 3, padding=1) for _ in range(3)]
    simulation = simulate(chain("alike", *same), find_accelerator("tpu-like"), TECHNOLOGY, can_stay=False)
    assert [run.layer.name for run in simulation.runs] == ["layer1", "layer2", "layer3"]
    assert len({run.cycles for run in simulation.runs}) == 1


def test_dram_by_kind_and_by_table() -> None:
    assert with_dram(TECHNOLOGY, DramKind.TECHNOLOGY) == TECHNOLOGY
    assert with_dram(TECHNOLOGY, DramKind.LPDDR4).dram.pj_per_bit == 8.0
    assert with_dram(TECHNOLOGY, DramKind.DDR3).dram.pj_per_bit == 70.0
    relative = find_technology("eyeriss-relative")
    assert with_dram(relative, DramKind.DDR3) == relative


def test_prices_without_a_source_say_so_in_json() -> None:
    binary = simulate(chain("one", convolution(8, 64, 8, 3)), find_accelerator("xnor-array"), TECHNOLOGY)
    plain = binary.to_plain()
    prices = plain["prices"]
    assert isinstance(prices, list)
    assert len(prices) == len(list(TECHNOLOGY.entries()))
    assert all(price["source"] and price["unit"] == "pJ" for price in prices)
    assert [(price["part"], price["bits"]) for price in prices if not price["is_sourced"]] == [
        ("logic", 8),
        ("logic", 16),
        ("logic", 32),
    ]
    assert plain["unsourced_energy"] == binary.energy.logic_pj > 0
    assert alone(matrix(1, 8, 8), find_accelerator("tpu-like")).unsourced_energy == 0


def test_what_compression_saves_is_in_json_of_a_compressing_engine() -> None:
    layer = replace(matrix(1, 512, 640), given_weight_density=0.1, given_activation_density=0.3)
    steps = alone(layer, find_accelerator("eie")).to_plain()["waterfall"]
    assert isinstance(steps, list)
    assert [step["name"] for step in steps[:2]] == ["Weights from DRAM", "from SRAM"]
    assert steps[0]["energy"] == 512 * 640 * 640.0
    assert alone(layer, find_accelerator("tpu-like")).to_plain()["waterfall"] == []


def test_floats_are_priced_as_floats() -> None:
    accelerator = find_accelerator("systolic-32")
    numbers = replace(
        accelerator.numbers, arithmetic=ArithmeticKind.FLOAT, weight_bits=16, activation_bits=16, output_bits=16
    )
    layer = convolution(10, 4, 4, 3)
    spent = dict(alone(layer, replace(accelerator, numbers=numbers)).energy)
    assert spent[Kind.MULTIPLY] == pytest.approx(1.1 * layer.macs)
    assert spent[Kind.ADD] == pytest.approx(0.9 * layer.macs)


def test_operands_wider_than_the_multipliers() -> None:
    layer = replace(matrix(1, 8, 8), name="fc6", weight_bits=16, place="model.py:9 (fc6)")
    with pytest.raises(ToolError) as error:
        alone(layer, find_accelerator("systolic-32"))
    assert str(error.value) == (
        "error[unmappable-layer]: systolic-32 cannot compute the layer fc6 of model.py:9 (fc6): its weights have 16 "
        "bits, the accelerator's 8\n  help: all engines with weight_bits = 16 in [numbers] can"
    )


def test_a_missing_memory() -> None:
    accelerator = find_accelerator("systolic-32")
    with pytest.raises(ToolError) as error:
        alone(matrix(1, 8, 8), replace(accelerator, sram=accelerator.sram[:2]))
    assert str(error.value) == (
        "error[bad-accelerator]: systolic-32 has no [[sram]] that holds outputs, which its engine reads from one\n"
        '  help: add one with holds = ["outputs"]'
    )


def test_generated_hardware_runs_graphs_only() -> None:
    with pytest.raises(ToolError) as error:
        alone(matrix(1, 8, 8), find_accelerator("dataflow"))
    assert str(error.value) == (
        "error[unmappable-layer]: dataflow cannot compute the layer fc: it is generated for a quantised graph, and "
        "this is a layer on its own\n  help: engines that can: systolic, vector, row_stationary, zero_skip"
    )
