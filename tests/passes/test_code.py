"""How a container codes: options that cost bytes and change nothing else, as the last pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bitkiln.ir import Graph, ToolError, decode_kiln, encode_kiln, load_graph, parse_graph, print_graph, save_graph
from bitkiln.ir.coding import Encoding, Form, Packing
from bitkiln.ir.kiln import stored_records
from bitkiln.passes import Code, Prune, Share, read_passes, run_passes
from tests.ir.random_graphs import assert_same
from tests.passes.networks import context, mlp


def small() -> Graph:
    graph = mlp((64, 80, 10))
    return run_passes(graph, (Prune(0.1), Share(4)), context(graph))


def coded(graph: Graph, step: Code) -> Graph:
    return run_passes(graph, (step,), context(graph))


def test_the_default_is_the_smallest() -> None:
    graph = small()
    least = len(encode_kiln(graph))
    assert encode_kiln(coded(graph, Code())) == encode_kiln(graph)
    for gap_bits in (None, 2, 5, 8, 16):
        for huffman in (True, False):
            assert len(encode_kiln(coded(graph, Code(gap_bits, huffman)))) >= least


@pytest.mark.parametrize("gap_bits", [2, 5, 16])
@pytest.mark.parametrize("huffman", [True, False])
def test_tensors_are_stored_as_asked(gap_bits: int, huffman: bool) -> None:
    found = coded(small(), Code(gap_bits, huffman))
    record = stored_records(found)["fc1.weight"]
    if record.encoding is Encoding.RELATIVE:
        assert record.gap_bits == gap_bits
    assert huffman or record.form in (Form.PLAIN, Form.DICTIONARY)
    back = decode_kiln(encode_kiln(found), "here")
    assert_same(back, found)
    assert back.packing == Packing(gap_bits, huffman)


def test_it_survives_both_kinds_of_files(tmp_path: Path) -> None:
    found = coded(small(), Code(5, False))
    assert print_graph(found).startswith("graph tiny {gap_bits=5, has_huffman=false}\n")
    for name in ("net.graph", "net.kiln"):
        save_graph(found, tmp_path / name)
        assert load_graph(tmp_path / name).packing == Packing(5, False)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("graph a {gap_bits=1, has_huffman=true}", "line 1: gap_bits must be between 2 and 16, not 1"),
        ("graph a {gap_bits=4} x", "line 1: expected nothing behind the brace, not ' x'"),
        ("graph a {gaps=4}", "line 1: graph"),
        ("graph a {gap_bits=4", "line 1: cannot read the attributes"),
        ("graph a{", "line 1: expected 'graph NAME'"),
    ],
)
def test_wrong_headers(header: str, message: str) -> None:
    text = f"{header}\n%x = input : f32[1,2]\nreturn %x\n"
    with pytest.raises(ToolError, match=message):
        parse_graph(text, {})


def test_options_and_order() -> None:
    steps = read_passes([{"name": "share"}, {"name": "code", "gap_bits": 5, "huffman": False}], "here")
    assert steps[1] == Code(5, False)
    with pytest.raises(ToolError, match="gap_bits must be between 2 and 16, not 17"):
        read_passes([{"name": "code", "gap_bits": 17}], "here")
    for late in ("share", "prune", "quantise", "remove_dead", "share_vectors"):
        with pytest.raises(ToolError, match="but code makes them coded for storage") as caught:
            read_passes([{"name": "code"}, {"name": late}], "recipe")
        assert caught.value.diagnostics[0].slug == "pass-order"
        assert caught.value.diagnostics[0].hint == f"put {late} before code"


def test_values_stay() -> None:
    graph = small()
    found = coded(graph, Code(3, False))
    assert all(torch.equal(found.const[name].data, const.data) for name, const in graph.const.items())
