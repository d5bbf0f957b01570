"""Descriptions of accelerators: the shipped ones, and what is wrong with one is one Diagnostic."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.accelerator import (
    ACCELERATORS,
    ENGINES,
    Accelerator,
    Dataflow,
    Dram,
    Eie,
    Numbers,
    Operand,
    RowStationary,
    Sram,
    Streaming,
    Systolic,
    Vector,
    Xnor,
    ZeroSkip,
    find_accelerator,
    load_accelerator,
    read_accelerator,
)
from bitkiln.sim.technologies import find_technology

FILE = resources.files("bitkiln.sim").joinpath("accelerators", "systolic-32.toml").read_text("utf-8")


def changed(old: str, new: str) -> str:
    assert old in FILE
    return FILE.replace(old, new, 1)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_shipped_descriptions_are_whole(name: str) -> None:
    accelerator = find_accelerator(name)
    assert accelerator.name == name
    assert accelerator.title
    assert find_technology(accelerator.technology).unit.value == "pJ"
    assert accelerator.engine is getattr(accelerator, accelerator.engine_name)
    held = [operand for sram in accelerator.sram for operand in sram.holds]
    assert sorted(held, key=lambda operand: operand.value) == (
        [] if name == "dataflow" else sorted(Operand, key=lambda o: o.value)
    )


def test_every_engine_is_in_a_shipped_description() -> None:
    assert {find_accelerator(name).engine_name for name in ACCELERATORS} == set(ENGINES)


def test_a_path_is_a_description_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(changed('name = "systolic-32"', 'name = "mine"'))
    assert find_accelerator(str(path)) == load_accelerator(path)
    assert load_accelerator(path).name == "mine"


def test_units() -> None:
    accelerator = find_accelerator("systolic-32")
    assert accelerator.dram_bytes_per_cycle == 10.0
    assert [accelerator.cycles(time_ns) for time_ns in (0.0, 0.4, 1.0, 1.2)] == [0, 1, 1, 2]
    weights = accelerator.memory(Operand.WEIGHTS)
    assert weights is not None
    assert (weights.capacity_bits, weights.usable_bits, weights.bits_per_cycle) == (524288, 262144, 512)
    assert replace(weights, is_double_buffered=False).usable_bits == 524288


def test_dataflow_is_a_choice_of_systolic_arrays() -> None:
    found = find_accelerator("systolic-32").with_dataflow(Dataflow.INPUT_STATIONARY)
    assert found.systolic is not None
    assert found.systolic.dataflow is Dataflow.INPUT_STATIONARY
    with pytest.raises(ToolError) as error:
        find_accelerator("eie").with_dataflow(Dataflow.INPUT_STATIONARY)
    message = "eie has a eie engine; only a systolic array has a choice of dataflow"
    assert str(error.value) == f"error[bad-dataflow]: {message}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed("[systolic]", "[systolics]"),
            "error[unknown-key]: t.toml: unknown key 'systolics'\n"
            "  help: did you mean systolic? Known: clock_hz, dram, eie, name, numbers, row_stationary, sram, "
            "streaming, systolic, technology, title, vector, xnor, zero_skip",
        ),
        (
            changed('dataflow = "ws"', 'dataflow = "rs"'),
            "error[bad-value]: t.toml.systolic.dataflow: 'rs' is not one of the known values\n"
            "  help: known: is, os, ws",
        ),
        (changed("rows = 32", "rows = 0"), "error[bad-value]: t.toml.systolic: rows must be at least 1, not 0"),
        (
            changed("columns = 32", "columns = -1"),
            "error[bad-value]: t.toml.systolic: columns must be at least 1, not -1",
        ),
        (changed("rows = 32\n", ""), "error[missing-key]: t.toml.systolic: the key 'rows' is missing"),
        (changed("clock_hz = 1e9", "clock_hz = 0.0"), "error[bad-value]: t.toml: clock_hz must be above 0, not 0"),
        (changed("clock_hz = 1e9", "clock_hz = inf"), "error[bad-value]: t.toml: clock_hz must be above 0, not inf"),
        (
            changed("accumulator_bits = 32", "accumulator_bits = 4"),
            "error[bad-value]: t.toml.numbers: accumulator_bits must hold an operand, but is 4",
        ),
        (
            changed("capacity_bytes = 65536", "capacity_bytes = 16"),
            "error[bad-value]: t.toml.sram[0]: an sram of 16 bytes has no word of 256 bits",
        ),
        (
            changed('holds = ["weights"]', "holds = []"),
            "error[bad-value]: t.toml.sram[0]: an sram must hold something, but holds is an empty list",
        ),
        (
            changed('holds = ["weights"]', 'holds = ["outputs"]'),
            "error[bad-accelerator]: t.toml: outputs are held by 2 srams; one can hold them",
        ),
        (
            changed("bytes_per_second = 10e9", "bytes_per_second = 0.0"),
            "error[bad-value]: t.toml.dram: bytes_per_second must be above 0, not 0",
        ),
        (
            changed("row_miss_ns = 27.5", "row_miss_ns = -1.0"),
            "error[bad-value]: t.toml.dram: row_miss_ns must be at least 0, not -1",
        ),
        (
            changed("row_hit_ns = 0.0", "row_hit_ns = 30.0"),
            "error[bad-value]: t.toml.dram: row_miss_ns must be at least row_hit_ns, 30, not 27.5",
        ),
        (
            changed("[numbers]", "[vector]\ninput_lanes = 4\noutput_lanes = 4\n\n[numbers]"),
            "error[bad-accelerator]: t.toml: an accelerator has exactly one engine's table, not systolic and vector\n"
            "  help: engines: systolic, vector, row_stationary, eie, zero_skip, xnor, streaming",
        ),
        (
            changed('[systolic]\nrows = 32\ncolumns = 32\ndataflow = "ws"\n', ""),
            "error[bad-accelerator]: t.toml: an accelerator has exactly one engine's table, but there is none\n"
            "  help: engines: systolic, vector, row_stationary, eie, zero_skip, xnor, streaming",
        ),
        ("name = ", "error[bad-toml]: t.toml is no TOML: "),
    ],
)
def test_wrong_description_is_one_diagnostic(text: str, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        read_accelerator(text, "t.toml")
    assert len(error.value.diagnostics) == 1
    if expected.endswith(": "):  # the parser's own words follow
        assert str(error.value).startswith(expected)
    else:
        assert str(error.value) == expected


def test_row_stationary_formats_and_pads() -> None:
    text = resources.files("bitkiln.sim").joinpath("accelerators", "eyeriss-like.toml").read_text("utf-8")
    for old, new, message in (
        (
            '"run-length"',
            '"compressed columns"',
            "feature_map_format must be dense, bitmap or run-length, not compressed columns",
        ),
        ("partial_sum_words = 24", "partial_sum_words = 0", "partial_sum_words must be at least 1, not 0"),
        ("partial_sum_words = 24", "shared_words = 2", "shared_words must be at least 3, not 2"),
    ):
        assert old in text
        with pytest.raises(ToolError) as error:
            read_accelerator(text.replace(old, new), "t.toml")
        assert str(error.value) == f"error[bad-value]: t.toml.row_stationary: {message}"


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ToolError) as error:
        find_accelerator("systolic")
    assert str(error.value) == (
        "error[unknown-accelerator]: there is no accelerator called 'systolic'\n"
        "  help: did you mean systolic-32? Known: dataflow, eie, eyeriss-like, systolic-32, tpu-like, xnor-array, "
        "zero-skip; a path that ends in .toml is read as a description"
    )


def test_missing_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as error:
        load_accelerator(tmp_path / "none.toml")
    expected = f"error[missing-file]: cannot read the accelerator {tmp_path}/none.toml: No such file or directory"
    assert str(error.value) == expected
    (tmp_path / "image.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match=r"bad-toml.*image.toml is no text in UTF-8"):
        load_accelerator(tmp_path / "image.toml")


def test_a_memory_of_banks_has_words_in_each() -> None:
    with pytest.raises(ToolError) as error:
        Sram((Operand.WEIGHTS,), 64, 64, banks=16)
    assert str(error.value) == "error[bad-value]: an sram of 64 bytes in 16 banks has no word of 64 bits"


@pytest.mark.parametrize(
    "kind",
    [Accelerator, Numbers, Sram, Dram, Systolic, Vector, RowStationary, Eie, ZeroSkip, Xnor, Streaming],
)
def test_every_key_is_documented(kind: type[Any]) -> None:
    """Engines' tables stand in the first table by their names."""
    page = (Path(__file__).parents[2] / "docs" / "accelerators.md").read_text("utf-8")
    for field in fields(kind):
        assert f"`{field.name}`" in page or f"`[{field.name}]`" in page or f"`[[{field.name}]]`" in page, field.name
