"""Energy tables: every number has its unit and source, and what is wrong with a table is one Diagnostic."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.technologies import TABLES, find_technology, load_technology, read_technology
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
