from __future__ import annotations

import json
import os
import random
import re
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import save

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, ToolError, evaluate, load_graph, save_graph, write_whole
from bitkiln.ir.ops import Linear, Relu
from tests.ir.random_graphs import assert_same, graphs, random_codes, random_input


def small() -> Graph:
    build = Builder("small")
    x = build.input("x", TensorType((1, 5), Int(4, False)))
    w = build.constant("w", TensorType((3, 5), Int(5, True, 2)), random_codes((3, 5), Int(5), 1))
    f = build.constant("f", TensorType((2,), Float()), torch.tensor([float("nan"), -0.0]))
    y = build.add(Relu(), (build.add(Linear(), (x, w), "fc"),), "y")
    return build.graph((y, f))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    save_graph(small(), tmp_path / "new" / "a.graph")
    assert_same(load_graph(tmp_path / "new" / "a.graph"), small())


@settings(max_examples=60)
@given(graphs())
def test_round_trip_of_random_graphs(folder: Path, graph: Graph) -> None:
    save_graph(graph, folder / "a")
    found = load_graph(folder / "a")
    assert_same(found, graph)
    inputs = random_input(graph, 2, 1)
    for one, other in zip(evaluate(found, *inputs), evaluate(graph, *inputs), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    """Also for constants that are views, need gradients or are used under two names."""
    graph = small()
    data = graph.const["w"].data.t().contiguous().t()
    view = replace(graph, consts=(replace(graph.consts[0], data=data), *graph.consts[1:]))
    contents = set()
    for i, variant in enumerate([graph] * 20 + [view]):
        save_graph(variant, tmp_path / str(i))
        contents.add((tmp_path / str(i)).read_bytes())
    assert len(contents) == 1


def test_loaded_constants_outlive_the_file(tmp_path: Path) -> None:
    """They are no pages of the file: a file that is cut short in place would take the process with it."""
    path = tmp_path / "a"
    build = Builder("large")
    w = build.constant("w", TensorType((1 << 16,), Float()), torch.arange(1 << 16, dtype=torch.float32))
    save_graph(build.graph((w,)), path)
    found = load_graph(path)
    os.truncate(path, 10)
    assert found.const["w"].data.sum() == (1 << 16) * ((1 << 16) - 1) / 2


def error(path: Path) -> str:
    with pytest.raises(ToolError) as caught:
        load_graph(path)
    return str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    hint = "\n  help: bitkiln import MODEL -o FILE writes a graph"
    assert error(tmp_path / "a") == f"error[missing-file]: {tmp_path}/a is no file{hint}"
    assert error(tmp_path) == f"error[missing-file]: {tmp_path} is no file{hint}"


def test_file_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for metadata, found in (({}, ""), ({"bitkiln": "bitkiln-graph 2\ngraph g"}, "bitkiln-graph 2"), ({"x": "y"}, "")):
        path.write_bytes(save({"w": torch.zeros(1)}, metadata))
        assert error(path) == f"error[bad-graph-file]: {path} has format {found!r}, expected 'bitkiln-graph 1'"
    path.write_bytes(b"")
    assert error(path).startswith(f"error[bad-graph-file]: {path} cannot be read: ")


def test_findings_in_the_graph_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    text = "bitkiln-graph 1\ngraph g\n%w = const : f32[3]\nreturn %w, %v\n"
    path.write_bytes(save({"w": torch.zeros(2)}, {"bitkiln": text}))
    assert error(path) == (
        f"error[bad-graph-file]: {path}: %w is f32[3] but its data has shape [2]\n"
        f"error[bad-graph-file]: {path}: output %v is not defined"
    )
    path.write_bytes(save({}, {"bitkiln": text}))
    assert error(path) == f"error[bad-graph-file]: {path}: line 2: no data for the constant %w"


TEXT = "bitkiln-graph 1\ngraph g\n%w = const : f32[4]\nreturn %w\n"
KINDS = {"F16": 8, "BF16": 8, "F64": 32, "I32": 16, "U16": 8, "U32": 16, "U64": 32, "BOOL": 4, "C64": 32, "F4": 2,
         "F8_E4M3": 4, "F8_E5M2": 4, "F8_E8M0": 4}  # fmt: skip


def crafted(kind: str, shape: list[int], offsets: list[int], text: object = TEXT) -> bytes:
    """A file with one tensor %w and 16 bytes of data, or as many as the offsets say up to 32."""
    entry = {"dtype": kind, "shape": shape, "data_offsets": offsets}
    header = json.dumps({"__metadata__": {"bitkiln": text}, "w": entry}).encode()
    return struct.pack("<Q", len(header)) + header + b"\1" * (offsets[1] if 0 <= offsets[1] <= 32 else 16)


def test_crafted_file_that_is_right(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(crafted("F32", [4], [0, 16]))
    assert load_graph(tmp_path / "a").types == {"w": TensorType((4,), Float())}


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 0),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        crafted("F32", [2**60], [0, 2**62]),
        crafted("F32", [2**62, 4], [0, 0]),
        crafted("F32", [-4], [0, 16]),
        crafted("F32", [4], [16, 0]),
        crafted("F32", [4], [0, -16]),
        crafted("X9", [4], [0, 16]),
        crafted("F32", [4], [0, 16], 3),
        crafted("F32", [4], [0, 16], {"a": TEXT}),
        *(crafted(kind, [4], [0, size]) for kind, size in KINDS.items()),
    ],
    ids=lambda content: repr(content[8:100]),
)
def test_crafted_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert error(path).startswith("error[bad-graph-file]: ")


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_graph(small(), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert error(path).startswith("error[bad-graph-file]: ")
    path.write_bytes(content + b"\0")
    assert error(path).startswith("error[bad-graph-file]: ")


def test_mutated_file_is_an_error_or_a_graph_that_runs(tmp_path: Path) -> None:
    path, rng, loaded = tmp_path / "a", random.Random(4), 0
    save_graph(small(), path)
    content = path.read_bytes()
    for _ in range(500):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(3):
                case 0:
                    changed[at] ^= 1 << rng.randrange(8)
                case 1:
                    changed[at] = rng.choice(b'0179-[]{}",:%\n\0\xff')
                case _:
                    changed[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        path.write_bytes(changed)
        try:
            graph = load_graph(path)
        except ToolError as caught:
            slugs = {finding.slug for finding in caught.diagnostics}
        else:
            slugs, loaded = {"bad-graph-file"}, loaded + 1
            evaluate(graph, *random_input(graph, 2, 0))
        assert slugs == {"bad-graph-file"}
    assert 0 < loaded < 250


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    message = (
        f"error[cannot-write]: cannot write {path}: No space left on device\n"
        "  help: check its permissions and the free space"
    )
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"")
    (tmp_path / "full" / "inner").mkdir(parents=True)
    for path in (tmp_path / "file" / "a", tmp_path / "full", tmp_path / ("x" * 300)):
        with pytest.raises(ToolError, match=f"^{re.escape(f'error[cannot-write]: cannot write {path}: ')}"):
            write_whole(path, b"new")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "full"]


def test_permissions_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "whole", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")}
    assert len(modes) == 1
