"""Energy tables: every number has its unit and source, and what is wrong with a table is one Diagnostic."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.technologies import TABLES, dram_prices, find_technology, load_technology, read_technology, scaled
from bitkiln.sim.technology import RULES, EnergyUnit, MemoryPrice, Technology

TABLE = resources.files("bitkiln.sim").joinpath("tables", "energy_45nm.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def technology() -> Technology:
    return find_technology("45nm")


@pytest.mark.parametrize("name", TABLES)
def test_shipped_table_has_unit_and_source_everywhere(name: str) -> None:
    technology = find_technology(name)
    assert technology.name == name
    prices = [price for _, price in technology.entries()]
    relative = {EnergyUnit.MAC} if name == "eyeriss-relative" else {EnergyUnit.PICOJOULE}
    assert {price.unit for price in prices} == relative
    assert [price for price in prices if len(price.source) < 10] == []
    assert {part for part, price in technology.entries() if not price.is_sourced} <= {"logic"}
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
            "Known: add, dram, float_add, float_multiply, logic, mac, multiply, name, network, node_nm, register, "
            "sram, title, volts",
        ),
        (
            changed('unit = "pJ"', 'unit = "J"'),
            "error[bad-value]: t.toml.add[0].unit: 'J' is not one of the known values\n"
            "  help: did you mean pJ? Known: MAC, pJ",
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
        ("name = 'x'\ntitle = 'x'\nadd = []", "error[missing-key]: t.toml: the key 'sram' is missing"),
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
        "error[unknown-technology]: there is no energy table called '45mn'\n  help: did you mean 45nm? "
        "Known: 22nm, 32nm, 45nm, 45nm-cacti, 45nm-eie, 65nm, eyeriss-relative"
    )


def test_missing_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as error:
        load_technology(tmp_path / "none.toml")
    expected = f"error[missing-file]: cannot read the energy table {tmp_path}/none.toml: No such file or directory"
    assert str(error.value) == expected
    (tmp_path / "image.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match=r"bad-toml.*image.toml is no text in UTF-8"):
        load_technology(tmp_path / "image.toml")


@pytest.mark.parametrize("name", ["22nm", "32nm", "65nm"])
def test_tables_of_other_nodes_are_the_first_one_scaled(name: str) -> None:
    """Arithmetic and registers; SRAM is CACTI's at the node, DRAM is off the chip and stays."""
    table, base = find_technology(name), find_technology("45nm")
    assert table.node_nm is not None
    expected = scaled(base, table.node_nm)
    for part in ("add", "multiply", "float_add", "float_multiply", "logic"):
        wanted = [
            (price.bits, pytest.approx(price.energy, rel=1e-5), price.source) for price in getattr(expected, part)
        ]
        assert [(price.bits, price.energy, price.source) for price in getattr(table, part)] == wanted
    assert table.register.energy == pytest.approx(expected.register.energy, rel=1e-5)
    assert table.dram == base.dram


def test_scaling_is_that_of_stillmaker_and_baas() -> None:
    """At 0.9 V: 1.103 V^2 - 0.362 V + 0.2767 for 45 nm, 0.2958 V^2 - 0.1241 V + 0.03024 for 16 nm."""
    small = find_technology("45nm@16")
    factor = (0.2958 * 0.81 - 0.1241 * 0.9 + 0.03024) / (1.103 * 0.81 - 0.362 * 0.9 + 0.2767)
    assert small.name == "45nm@16"
    assert small.multiply_pj(8, 8) == pytest.approx(0.2 * factor)
    assert small.sram_pj_per_bit(32 * 8192) == pytest.approx(20 / 64 * factor)
    assert small.dram == find_technology("45nm").dram
    assert small.add[0].source.endswith(
        "; scaled from 45 to 16 nm at 0.9 V by 0.1873 (Stillmaker and Baas, Integration 58, 2017)"
    )
    between = find_technology("45nm@38.5nm")  # half of the way to 32 nm
    energies = [find_technology(f"45nm@{node}").add_pj(32) for node in (45, 38.5, 32)]
    assert between.add_pj(32) == energies[1] == pytest.approx((energies[0] + energies[2]) / 2)
    assert energies[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("45nm@5", "energies can be scaled to nodes from 7 to 130 nm, not to 5 nm"),
        ("45nm@small", "a node is a number of nanometres, not 'small'\n  help: 45nm@16"),
        ("eyeriss-relative@16", "the energy table eyeriss-relative belongs to no node, so it cannot be scaled"),
    ],
)
def test_what_cannot_be_scaled(name: str, message: str) -> None:
    with pytest.raises(ToolError) as error:
        find_technology(name)
    assert str(error.value) == f"error[bad-node]: {message}"


def test_cacti_writes_have_their_own_energy() -> None:
    table = find_technology("45nm-cacti")
    assert table.sram_pj_per_bit(8192 * 8) == pytest.approx(6.1419 / 64, rel=0.01)
    assert table.sram_write_pj_per_bit(8192 * 8) != table.sram_pj_per_bit(8192 * 8)
    horowitz = find_technology("45nm")
    assert horowitz.sram_write_pj_per_bit(8192 * 8) == horowitz.sram_pj_per_bit(8192 * 8)


@pytest.mark.parametrize(("name", "node"), [("65nm", "65"), ("45nm-cacti", "45"), ("32nm", "32"), ("22nm", "22")])
def test_srams_are_those_of_the_sweep(name: str, node: str) -> None:
    """CACTI 7, low standby power, 64-bit words, all capacities from 1 KB to 2 MB."""
    with (Path(__file__).parents[2] / "benchmarks" / "published" / "cacti7_sram_sweep.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["flavour"], row["node_nm"]) == ("itrs-lstp", node)]
    swept = {int(row["size_B"]): (float(row["read_pJ"]), float(row["write_pJ"])) for row in rows}
    found = {price.capacity_bytes: (price.energy, price.write_energy) for price in find_technology(name).sram}
    assert found == swept
    assert len(swept) == 12


def test_relative_energies_are_the_ratios_of_eyeriss() -> None:
    table = find_technology("eyeriss-relative")
    assert table.multiply_pj(16, 16) == 1.0
    assert 16 * table.register.pj_per_bit == 1.0
    assert 16 * table.network_pj_per_bit() == 2.0
    assert {16 * table.sram_pj_per_bit(8 * size) for size in (1024, 108 * 1024, 1 << 24)} == {6.0}
    assert 16 * table.dram.pj_per_bit == 200.0


def test_dram_by_kind() -> None:
    prices = dram_prices()
    assert [price.pj_per_bit for price in (prices.lpddr4, prices.lpddr, prices.ddr3)] == [8.0, 40.0, 70.0]
    assert len({price.source for price in (prices.lpddr4, prices.lpddr, prices.ddr3)}) == 3


def test_floats_cost_what_they_were_measured_at(technology: Technology) -> None:
    assert [technology.float_add_pj(bits) for bits in (16, 32)] == [0.4, 0.9]
    assert [technology.float_multiply_pj(bits, bits) for bits in (16, 32)] == [1.1, 3.7]


def test_a_price_that_is_not_there(technology: Technology) -> None:
    with pytest.raises(ToolError) as error:
        replace(technology, float_add=()).float_add_pj(16)
    assert str(error.value) == (
        "error[missing-price]: the energy table 45nm has no price for float_add\n"
        "  help: add [[float_add]] with bits, energy, unit and source, or choose another table"
    )
    with pytest.raises(ToolError, match="the energy table 45nm has no price for network"):
        replace(technology, network=None).network_pj_per_bit()


def test_units_are_not_mixed(technology: Technology) -> None:
    with pytest.raises(ToolError) as error:
        replace(technology, register=replace(technology.register, unit=EnergyUnit.MAC))
    assert str(error.value) == "error[bad-value]: all entries of a table must have the same unit, not MAC and pJ"


def test_numbers_without_a_source_say_so(technology: Technology) -> None:
    unsourced = [price for part, price in technology.entries() if not price.is_sourced]
    assert {price.bits for price in unsourced} == {8, 16, 32}
    assert unsourced == list(technology.logic)
