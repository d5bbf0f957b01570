from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bitkiln.ir import load_graph
from bitkiln.ir.coding import STORAGE_RULE
from bitkiln.passes import Tune
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


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("prune{density=0.0}", "error[number-range]: --pass[1] prune: density must be above 0 and at most 1, not 0\n"),
        (
            "prune{density=1.5}",
            "error[number-range]: --pass[1] prune: density must be above 0 and at most 1, not 1.5\n",
        ),
        (
            "prune_channels{density=-1.0}",
            "error[number-range]: --pass[1] prune_channels: density must be above 0 and at most 1, not -1\n",
        ),
        (
            "share{index_bits=8}",
            "error[too-many-centroids]: conv.weight has 36 distinct weights, fewer than the 256 centroids of 8 bits\n"
            "  help: set index_bits to 5 or less for it, or leave it unshared\n",
        ),
        (
            "share_vectors{index_bits=4}",
            "error[too-many-centroids]: conv.weight has 12 distinct vectors in a codebook, fewer than 16 centroids of "
            "4 bits\n  help: set index_bits to 3 or less for it, or dimension to 0 to leave it\n",
        ),
        (
            'prune{layers=[{layer="clasify", density=0.5}]}',
            "error[unknown-layer]: No layer of model with weights matches 'clasify'\n"
            "  help: did you mean classify? Known: classify, conv\n",
        ),
        (
            'hash_weights{layers=[{layer="fc9", density=0.5}]}',
            "error[unknown-layer]: No layer of model with weights matches 'fc9'\n  help: known: classify, conv\n",
        ),
        (
            'prune_channels{layers=[{layer="classify", density=0.5}]}',
            "error[cannot-prune]: the channels of %classify cannot be cut: they reach an output, or what needs them "
            "all\n  help: known: conv\n",
        ),
        ("code{gap_bits=1}", "error[number-range]: --pass[1] code: gap_bits must be between 2 and 16, not 1\n"),
    ],
)
def test_wrong_options_are_found_before_any_training(
    step: str, message: str, tiny: Tiny, bitkiln: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Tune, "run")
    found = bitkiln("compress", tiny.float_graph, "--data", "digits", "--pass", "tune", "--pass", step)
    assert found == Outcome(2, "", message)


def test_an_order_that_makes_no_sense(tiny: Tiny, bitkiln: Run) -> None:
    found = bitkiln("compress", tiny.float_graph, "--data", "digits", "--pass", "code", "--pass", "share{index_bits=2}")
    assert found == Outcome(
        2,
        "",
        "error[pass-order]: --pass: share works on weights that are floats, but code makes them coded for storage\n"
        "  help: put share before code\n",
    )


def test_damaged_and_foreign_containers(tiny: Tiny, bitkiln: Run, tmp_path: Path) -> None:
    good = tmp_path / "good.kiln"
    bitkiln("compress", tiny.graph, "-o", good)
    content = good.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    cases = {
        content[:-20]: "its check sum is wrong: it is truncated or was changed",
        bytes(flipped): "its check sum is wrong: it is truncated or was changed",
        b"PK\x03\x04" + content: "it begins with b'PK\\x03\\x04\\x89KIL', not b'\\x89KILN\\r\\n\\n'",
        b"": "it begins with b'', not b'\\x89KILN\\r\\n\\n'",
    }
    bad = tmp_path / "bad.kiln"
    for wrong, why in cases.items():
        bad.write_bytes(wrong)
        found = bitkiln("compress", bad, "-o", tmp_path / "again.graph")
        assert found == Outcome(2, "", f"error[bad-kiln-file]: {bad} cannot be read: {why}\n")
    assert not (tmp_path / "again.graph").exists()
