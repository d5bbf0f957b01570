from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from bitkiln.ir import (
    Bipolar,
    Builder,
    Codebook,
    Float,
    Graph,
    Int,
    TensorType,
    Ternary,
    ToolError,
    decode_kiln,
    encode_kiln,
    evaluate,
    load_graph,
    load_kiln,
    save_graph,
    stored_records,
)
from bitkiln.ir.coding import Encoding, Form
from tests.ir.coding.test_kiln import with_check_sum
from tests.ir.random_graphs import assert_same, graphs, random_codes, random_input


def every_format() -> Graph:
    build = Builder("every")
    build.input("x", TensorType((1, 2), Float()))
    generator = torch.Generator().manual_seed(0)
    names = [
        build.constant("f16", TensorType((3,), Float(16)), torch.tensor([1.5, -0.0, float("nan")], dtype=torch.half)),
        build.constant("f64", TensorType((2, 1), Float(64)), torch.tensor([[1e300], [-1e-300]], dtype=torch.float64)),
        build.constant("scalar", TensorType((), Float()), torch.tensor(0.1)),
        build.constant("bipolar", TensorType((70,), Bipolar()), (torch.arange(70) % 3 == 0).to(torch.int8)),
        build.constant("ternary", TensorType((70,), Ternary()), (torch.arange(70) % 3 - 1).to(torch.int8)),
        build.constant("codebook", TensorType((70,), Codebook(3, Float())), (torch.arange(70) % 8).to(torch.uint8)),
        build.constant("wide", TensorType((70,), Codebook(12, Float())), torch.arange(70, dtype=torch.int32) * 50),
    ]
    for bits in (1, 2, 5, 8, 9, 15, 16, 31, 32, 33, 62, 63):
        for number in (Int(bits), Int(bits, False)):
            lo, hi = max(number.lo, -(2**62)), min(number.hi, 2**62 - 1)  # what torch draws between
            codes = torch.randint(lo, hi + 1, (40,), generator=generator, dtype=torch.int64)
            codes[0], codes[1] = number.lo, number.hi
            dtype = random_codes((1,), Int(min(bits, 62), number.signed), 0).dtype
            names.append(build.constant(str(number), TensorType((40,), number), codes.to(dtype)))
    return build.graph(names)


def test_every_number_format_comes_back(tmp_path: Path) -> None:
    save_graph(every_format(), tmp_path / "a.kiln")
    assert_same(load_graph(tmp_path / "a.kiln"), every_format())


@settings(max_examples=60)
@given(graphs())
def test_round_trip_of_random_graphs(graph: Graph) -> None:
    found = decode_kiln(encode_kiln(graph), "file")
    assert_same(found, graph)
    inputs = random_input(graph, 2, 1)
    for one, other in zip(evaluate(found, *inputs), evaluate(graph, *inputs), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()


def test_the_suffix_chooses_the_form_and_the_content_is_recognised(tmp_path: Path) -> None:
    save_graph(every_format(), tmp_path / "a.kiln")
    save_graph(every_format(), tmp_path / "a.graph")
    assert (tmp_path / "a.kiln").read_bytes() == encode_kiln(every_format())
    (tmp_path / "a.kiln").rename(tmp_path / "b.graph")
    assert_same(load_graph(tmp_path / "b.graph"), load_graph(tmp_path / "a.graph"))


def test_records_say_how_each_constant_is_stored() -> None:
    found = stored_records(every_format())
    assert (found["bipolar"].encoding, found["bipolar"].form) == (Encoding.DENSE, Form.PLAIN)
    assert sum(map(len, found["bipolar"].parts)) == 4 + 1 + 1 + 9


def error(data: bytes) -> str:
    with pytest.raises(ToolError) as caught:
        decode_kiln(data, "net.kiln")
    return str(caught.value)


def test_damage_is_a_diagnostic() -> None:
    data = encode_kiln(every_format())
    wrong = "error[bad-kiln-file]: net.kiln cannot be read: its check sum is wrong: it is truncated or was changed"
    assert error(data[:-1]) == wrong
    assert error(data + b"\0") == wrong
    assert error(b"\x89PNG") == (
        "error[bad-kiln-file]: net.kiln cannot be read: it begins with b'\\x89PNG', not b'\\x89KILN\\r\\n\\n'"
    )


def test_findings_in_the_graph_name_the_file() -> None:
    build = Builder("g")
    w = build.constant("w", TensorType((3,), Int(4)), torch.zeros(3, dtype=torch.int8))
    data = encode_kiln(build.graph((w,)))
    changed = data[:-4].replace(bytes([0, 0x84, 1, 3]), bytes([2, 0x84, 1, 3]))
    assert error(with_check_sum(changed)) == (
        "error[bad-kiln-file]: net.kiln: %w of i4.f0[3] must be stored as torch.int8, not torch.int16"
    )


def test_text_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitkiln.ir.kiln.MAX_TEXT_BYTES", 50)
    build = Builder("g" * 30)
    graph = build.graph((build.constant("w", TensorType((1,), Float()), torch.ones(1)),))
    with pytest.raises(ToolError) as caught:
        encode_kiln(graph)
    assert str(caught.value) == (
        f"error[too-large]: the text of {'g' * 30} has 67 bytes; a container takes at most 50\n"
        "  help: write a graph file, without .kiln"
    )


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "a.kiln", tmp_path):
        with pytest.raises(ToolError) as caught:
            load_graph(path)
        assert caught.value.diagnostics[0].slug == "missing-file"
    with pytest.raises(ToolError, match=r"error\[missing-file\].*\n  help: bitkiln compress -o FILE.kiln writes one"):
        load_kiln(tmp_path / "a.kiln")
    with pytest.raises(ToolError, match=r"error\[bad-kiln-file\].* cannot be read: Is a directory"):
        load_kiln(tmp_path)
    (tmp_path / "empty.kiln").write_bytes(b"")
    with pytest.raises(ToolError, match=r"error\[bad-kiln-file\].* cannot be read: it begins with b''"):
        load_graph(tmp_path / "empty.kiln")


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.kiln"
    save_graph(every_format(), path)
    before = path.read_bytes()

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    build = Builder("other")
    other = build.graph((build.constant("w", TensorType((1,), Float()), torch.ones(1)),))
    with pytest.raises(KeyboardInterrupt):
        save_graph(other, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.kiln"]  # noqa: PTH208  # names


def test_mutated_files_give_a_diagnostic_or_a_graph_that_evaluates() -> None:
    build = Builder("small")
    w = build.constant("w", TensorType((3, 40), Int(5, True, 2)), random_codes((3, 40), Int(5), 1))
    graph = build.graph((w,))
    body, rng, loaded = encode_kiln(graph)[:-4], random.Random(2), 0
    for _ in range(200):
        changed = bytearray(body)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        try:
            found = decode_kiln(with_check_sum(bytes(changed)), "file")
        except ToolError as caught:
            slugs = {finding.slug for finding in caught.diagnostics}
        else:
            slugs, loaded = {"bad-kiln-file"}, loaded + 1
            evaluate(found, *random_input(found, 2, 0))
        assert slugs == {"bad-kiln-file"}
    assert 0 < loaded < 200
