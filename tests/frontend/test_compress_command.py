from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bitkiln.ir import load_graph
from bitkiln.ir.coding import STORAGE_RULE
from tests.ir.random_graphs import assert_same
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]


def test_the_suffix_makes_a_container_that_every_verb_reads(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    small = tmp_path / "small.kiln"
    found = bitkiln("compress", tiny.graph, "-o", small)
    size, constants = small.stat().st_size, load_graph(tiny.graph).params
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[0] == f"{size:,} bytes stored, {constants:,} constants"
    assert " ".join(found.out.split()).endswith(STORAGE_RULE)
    assert_same(load_graph(small), load_graph(tiny.graph))
    simulated = [bitkiln("simulate", graph, "--json") for graph in (small, tiny.graph)]
    assert [outcome.code for outcome in simulated] == [0, 0]
    assert simulated[0].out == simulated[1].out


def test_a_pass_before_the_container(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    shared = tmp_path / "shared.kiln"
    arguments = ("--pass", "share{index_bits=4}", "--data", "digits", "-o", shared, "--json")
    found = json.loads(bitkiln("compress", tiny.float_graph, *arguments).out)
    assert found["stored_bytes"] == shared.stat().st_size < 4 * load_graph(tiny.float_graph).params
    assert "decode" in {node.op.name for node in load_graph(shared).nodes}


def test_passes_need_samples(tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("compress", tiny.float_graph, "--pass", "share")
    assert found.code == 2
    assert found.err == (
        "error[missing-data]: passes need samples\n  help: --data digits, idx:FOLDER or npz:FILE; or only -o FILE\n"
    )
    assert bitkiln("compress", tiny.float_graph).err == found.err


def test_a_damaged_container_is_named(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.kiln"
    bitkiln("compress", tiny.graph, "-o", path)
    path.write_bytes(path.read_bytes()[:-9])
    found = bitkiln("simulate", path)
    assert found.code == 2
    assert "error[bad-kiln-file]" in found.err
    assert "its check sum is wrong" in found.err


def test_squeezenet_from_its_authors_file(shared_data: Path, bitkiln: Run, tmp_path: Path) -> None:
    source = shared_data / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"
    found = json.loads(bitkiln("import", source, "-o", tmp_path / "s.kiln", "--json").out)
    assert (found["params"], len([row for row in found["nodes"] if row["op"] == "conv2d"])) == (1_248_424, 26)
    assert (tmp_path / "s.kiln").stat().st_size < 546_000
