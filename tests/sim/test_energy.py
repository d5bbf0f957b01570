"""Energy is counts times prices; prices come from a table in which each number has its source."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Plan, ToolError
from bitkiln.sim.activity import Activity, StageActivity, plan_activity
from bitkiln.sim.counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role
from bitkiln.sim.energy import (
    RULES,
    TABLES,
    EnergyUnit,
    Kind,
    KindEnergy,
    MemoryPrice,
    Price,
    Technology,
    energy,
    find_technology,
    load_technology,
    read_technology,
)

TABLE = resources.files("bitkiln.sim").joinpath("tables", "energy_45nm.toml").read_text("utf-8")
KILOBYTE_BITS = 1024 * 8


@pytest.fixture(scope="module")
def technology() -> Technology:
    return find_technology("45nm")


def one(counts: Counts) -> Activity:
    return Activity((StageActivity("stage", counts),))


def arithmetic(operation: Operation, bits: tuple[int, int], count: int) -> Counts:
    return Counts((Arithmetic(operation, Purpose.PRODUCT, bits, count),))


def access(level: Level, capacity_bits: int, word_bits: int, reads: int = 0, writes: int = 0) -> Counts:
    return Counts((), (Access(Memory("m", level, Role.WEIGHTS, capacity_bits, word_bits), reads, writes),))


@pytest.mark.parametrize(
    ("counts", "kind", "energy_pj"),
    [
        (arithmetic(Operation.ADD, (8, 8), 1), Kind.ADD, 0.03),
        (arithmetic(Operation.ADD, (16, 9), 1), Kind.ADD, 0.05),
        (arithmetic(Operation.ADD, (12, 12), 1), Kind.ADD, 0.04),
        (arithmetic(Operation.ADD, (4, 4), 1), Kind.ADD, 0.015),
        (arithmetic(Operation.ADD, (64, 64), 1), Kind.ADD, 0.2),
        (arithmetic(Operation.COMPARE, (32, 1), 10), Kind.ADD, 1.0),
        (arithmetic(Operation.MULTIPLY, (8, 8), 1000), Kind.MULTIPLY, 200.0),
        (arithmetic(Operation.MULTIPLY, (16, 16), 1), Kind.MULTIPLY, 0.62),
        (arithmetic(Operation.MULTIPLY, (32, 8), 1), Kind.MULTIPLY, 0.62),
        (arithmetic(Operation.MULTIPLY, (32, 32), 1), Kind.MULTIPLY, 3.1),
        (arithmetic(Operation.MULTIPLY, (4, 4), 1), Kind.MULTIPLY, 0.05),
        (arithmetic(Operation.MULTIPLY, (8, 2), 1), Kind.MULTIPLY, 0.05),
        (arithmetic(Operation.MULTIPLY, (64, 64), 1), Kind.MULTIPLY, 12.4),
        (access(Level.SRAM, 8 * KILOBYTE_BITS, 64, reads=3), Kind.SRAM, 30.0),
        (access(Level.SRAM, 32 * KILOBYTE_BITS, 16, writes=1), Kind.SRAM, 5.0),
        (access(Level.SRAM, 1024 * KILOBYTE_BITS, 64, reads=1, writes=1), Kind.SRAM, 200.0),
        (access(Level.SRAM, 2 * KILOBYTE_BITS, 64, reads=1), Kind.SRAM, 5.0),  # the square root of the capacity
        (access(Level.SRAM, 16 * KILOBYTE_BITS, 64, reads=1), Kind.SRAM, 10 * math.sqrt(2)),
        (access(Level.SRAM, 64, 32, reads=1), Kind.SRAM, 1.0),  # not below a register
        (access(Level.REGISTER, 32, 32, reads=1, writes=1), Kind.REGISTER, 2.0),
        (access(Level.DRAM, 0, 32, reads=1), Kind.DRAM, 640.0),
        (access(Level.DRAM, 0, 1, writes=1), Kind.DRAM, 20.0),
    ],
)
def test_price_of_one_thing(technology: Technology, counts: Counts, kind: Kind, energy_pj: float) -> None:
    spent = energy(one(counts), technology)
    assert spent.total_pj == pytest.approx(energy_pj, rel=1e-12)
    assert {part: pj for part, pj in spent.by_kind if pj} == {kind: pytest.approx(energy_pj, rel=1e-12)}


def test_dram_against_an_addition_and_sram(technology: Technology) -> None:
    """The ratios that the published energy tables are quoted for: 6400 additions of 32 bits to one DRAM access."""
    dram_pj = 32 * technology.dram.pj_per_bit
    assert dram_pj / technology.add_pj(32) == pytest.approx(6400)
    assert dram_pj / (32 * technology.sram_pj_per_bit(32 * KILOBYTE_BITS)) == pytest.approx(64)


@given(st.integers(1, 64), st.integers(1, 64))
def test_wider_is_dearer(a: int, b: int) -> None:
    technology = find_technology("45nm")
    assert technology.multiply_pj(a, b) == technology.multiply_pj(b, a) < technology.multiply_pj(a + 1, b)
    assert technology.add_pj(a) < technology.add_pj(a + 1)
    assert technology.sram_pj_per_bit(a << b) <= technology.sram_pj_per_bit(a << (b + 1))


def test_energy_is_linear_in_the_counts(plan: Plan, technology: Technology) -> None:
    activity = plan_activity(plan)
    twice = Activity(
        tuple(replace(stage, counts=stage.counts + stage.counts) for stage in activity.stages),
    )
    thrice = Activity((*activity.stages, *twice.stages))
    total_pj = energy(activity, technology).total_pj
    assert total_pj > 0
    assert energy(twice, technology).total_pj == pytest.approx(2 * total_pj)
    assert energy(thrice, technology).total_pj == pytest.approx(3 * total_pj)
    merged = one(activity.total)
    assert energy(merged, technology).total_pj == pytest.approx(total_pj)
    assert energy(Activity(()), technology).total_pj == 0


def test_energy_is_linear_in_the_table(plan: Plan, technology: Technology) -> None:
    def scaled(price: Price) -> Price:
        return replace(price, energy=7 * price.energy)

    def scaled_memory(price: MemoryPrice) -> MemoryPrice:
        return replace(price, energy=7 * price.energy)

    dearer = replace(
        technology,
        add=tuple(map(scaled, technology.add)),
        multiply=tuple(map(scaled, technology.multiply)),
        sram=tuple(map(scaled_memory, technology.sram)),
        register=scaled(technology.register),
        dram=scaled(technology.dram),
    )
    activity = plan_activity(plan)
    assert energy(activity, dearer).total_pj == pytest.approx(7 * energy(activity, technology).total_pj)

    only_dram = energy(activity, replace(technology, dram=scaled(technology.dram))).by_kind
    before = dict(energy(activity, technology).by_kind)
    expected = before | {Kind.DRAM: pytest.approx(7 * before[Kind.DRAM])}
    assert dict(only_dram) == expected


def test_parts_add_up(plan: Plan, technology: Technology) -> None:
    spent = energy(plan_activity(plan), technology)
    assert sum(stage.by_kind.total_pj for stage in spent.by_stage) == pytest.approx(spent.total_pj)
    assert [stage.name for stage in spent.by_stage] == ["host link", *(stage.name for stage in plan.stages)]
    assert min(dict(spent.by_kind).values()) > 0
    assert KindEnergy(1, 2, 3, 4, 5).total_pj == 15


def test_weights_from_dram_cost_their_bits(plan: Plan, technology: Technology) -> None:
    activity = plan_activity(plan)
    more = energy(activity.with_weights_from_dram(), technology).total_pj - energy(activity, technology).total_pj
    assert more == pytest.approx(activity.weight_bits * 20.0)


@pytest.mark.parametrize("name", TABLES)
def test_shipped_table_has_unit_and_source_everywhere(name: str) -> None:
    technology = find_technology(name)
    assert technology.name == name
    prices = (*technology.add, *technology.multiply, technology.register, technology.dram)
    units = {price.unit for price in prices} | {price.unit for price in technology.sram}
    assert units == {EnergyUnit.PICOJOULE}
    sources = [price.source for price in prices] + [price.source for price in technology.sram]
    assert [source for source in sources if len(source) < 10] == []
    assert len(RULES) == 4


def test_load_reads_the_same_from_a_file(tmp_path: Path, technology: Technology) -> None:
    (tmp_path / "mine.toml").write_text(TABLE)
    assert load_technology(tmp_path / "mine.toml") == technology


def changed(old: str, new: str) -> str:
    assert old in TABLE
    return TABLE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed('source = "Horowitz, Computing\'s Energy Problem, ISSCC 2014: integer add, 8 bit"\n', ""),
            "error[missing-key]: t.toml.add[0]: the key 'source' is missing",
        ),
        (
            changed('source = "Horowitz, Computing\'s Energy Problem, ISSCC 2014: integer add, 8 bit"', 'source = " "'),
            "error[missing-source]: t.toml.add[0]: an energy entry has no source\n"
            "  help: say where the number comes from: paper, table, measurement",
        ),
        (
            changed("[register]", "[register]\ncolour = 1"),
            "error[unknown-key]: t.toml.register: unknown key 'colour'\n  help: known: bits, energy, source, unit",
        ),
        (
            changed("[register]", "[registers]"),
            "error[unknown-key]: t.toml: unknown key 'registers'\n  help: did you mean register? "
            "Known: add, dram, multiply, name, register, sram, title",
        ),
        (
            changed('unit = "pJ"', 'unit = "J"'),
            "error[bad-value]: t.toml.add[0].unit: 'J' is not one of the known values\n"
            "  help: did you mean pJ? Known: pJ",
        ),
        (
            changed("energy = 0.03", "energy = nan"),
            "error[bad-value]: t.toml.add[0]: energy of an energy entry must be a positive number, not nan",
        ),
        (
            changed("energy = 0.03", "energy = -1"),
            "error[bad-value]: t.toml.add[0]: energy of an energy entry must be a positive number, not -1.0",
        ),
        (
            changed("energy = 0.03", 'energy = "little"'),
            "error[bad-value]: t.toml.add[0].energy: expected number, not 'little'",
        ),
        (
            changed("capacity_bytes = 8192", "capacity_bytes = 0"),
            "error[bad-value]: t.toml.sram[0]: capacity_bytes of an SRAM entry must be at least 1, not 0",
        ),
        (
            changed("capacity_bytes = 8192", "capacity_bytes = 99999"),
            "error[bad-value]: t.toml: [[sram]] must be in ascending order of size, but 32768 follows 99999",
        ),
        ("name = 1 2", "error[bad-toml]: t.toml is no TOML: "),
        ("name = 'x'\ntitle = 'x'\nadd = []", "error[missing-key]: t.toml: the key 'multiply' is missing"),
    ],
)
def test_wrong_table_is_one_diagnostic(text: str, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        read_technology(text, "t.toml")
    assert len(error.value.diagnostics) == 1
    if expected.endswith(": "):  # the parser's own words follow
        assert str(error.value).startswith(expected)
    else:
        assert str(error.value) == expected


def test_one_size_is_too_few() -> None:
    table = tomllib.loads(TABLE)
    (first, *_) = table["sram"]
    price = MemoryPrice(first["capacity_bytes"], first["bits"], first["energy"], EnergyUnit.PICOJOULE, first["source"])
    with pytest.raises(ToolError, match=r"\[\[sram\]\] needs at least two sizes to go by, not 1"):
        replace(find_technology("45nm"), sram=(price,))


def test_unknown_table_lists_the_known_ones() -> None:
    with pytest.raises(ToolError) as error:
        find_technology("45mn")
    assert str(error.value) == (
        "error[unknown-technology]: there is no energy table called '45mn'\n  help: did you mean 45nm? Known: 45nm"
    )


def test_missing_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as error:
        load_technology(tmp_path / "none.toml")
    expected = f"error[missing-file]: cannot read the energy table {tmp_path}/none.toml: No such file or directory"
    assert str(error.value) == expected
    (tmp_path / "image.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match=r"bad-toml.*image.toml is no text in UTF-8"):
        load_technology(tmp_path / "image.toml")
