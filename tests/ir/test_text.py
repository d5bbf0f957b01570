from __future__ import annotations

import contextlib
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import (
    Builder,
    Float,
    Graph,
    Int,
    Location,
    TensorType,
    ToolError,
    evaluate,
    parse_graph,
    print_graph,
    print_node,
)
from bitkiln.ir.ops import OPS, Conv2d, Linear, MaxPool2d, Requantise, Reshape
from tests.ir.random_graphs import assert_same, graphs, random_codes, random_input

TINY = """\
graph tiny
%x = input : u4.f0[1,4]
%w = const : i3.f2[2,4]
%y = linear(%x, %w) : i9.f2[1,2] @ "model.py":12 "fc"
%z = requantise(%y) {number="u8.f4", shift=[-2]} : u8.f4[1,2]
return %z
"""
WEIGHT = torch.tensor([[1, -4, 3, 0], [-1, 2, 2, 2]], dtype=torch.int8)


def tiny() -> Graph:
    build = Builder("tiny")
    x = build.input("x", TensorType((1, 4), Int(4, False)))
    w = build.constant("w", TensorType((2, 4), Int(3, True, 2)), WEIGHT)
    y = build.add(Linear(), (x, w), "y", Location("model.py", 12, "fc"))
    z = build.add(Requantise(Int(8, False, 4), (-2,)), (y,), "z")
    return build.graph((z,))


def cnn() -> Graph:
    build = Builder("cnn")
    x = build.input("x", TensorType((1, 2, 6, 6), Int(4, True, 3)))
    number = Int(4, True, (1, 2, 3, 4), 0)
    w = build.constant("w", TensorType((4, 1, 3, 3), number), random_codes((4, 1, 3, 3), number, 1))
    y = build.add(Conv2d((1, 2), ((1, 0), (2, 1)), (2, 1), 2), (x, w), "conv", Location("m.py", 3, "a.b"))
    y = build.add(Requantise(Int(6, False, 2), (2, 3, 4, 5), hi=24), (y,), "q")
    y = build.add(MaxPool2d((2, 2), (2, 1), (1, 1), ceil_mode=True), (y,), "pool")
    y = build.add(Reshape((1, build.types[y].elements)), (y,), "flat")
    return build.graph((y,))


def data_of(graph: Graph) -> dict[str, Tensor]:
    return {const.name: const.data for const in graph.consts}


def test_prints_one_line_a_value() -> None:
    assert print_graph(tiny()) == TINY


def test_parses_what_is_printed() -> None:
    assert_same(parse_graph(TINY, {"w": WEIGHT}), tiny())


@settings(max_examples=150)
@given(graphs())
def test_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    assert text.isascii()
    assert_same(parse_graph(text, data_of(graph)), graph)


def test_print_node() -> None:
    assert print_node(tiny().node["y"]) == '%y = linear(%x, %w) : i9.f2[1,2] @ "model.py":12 "fc"'


def test_infinite_bounds_round_trip() -> None:
    text = "graph g\n%x = input : f32[1]\n%y = clip(%x) {lo=-Infinity, hi=Infinity} : f32[1]\nreturn %y\n"
    assert print_graph(parse_graph(text, {})) == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("graph tiny", "grph tiny", "error[graph-syntax]: line 1: expected 'graph NAME'"),
        ("%x = input", "%x = inputs", "error[graph-syntax]: line 2: cannot read '%x = inputs : u4.f0[1,4]'"),
        ("u4.f0[1,4]", "u64.f0[1,4]", "error[number-range]: line 2: Bits must be between 1 and 63, not 64"),
        (
            "u4.f0[1,4]",
            "u4.f0[1,0]",
            "error[bad-shape]: line 2: Every size of a shape must be at least 1, not [1, 0]",
        ),
        (
            "u4.f0[1,4]",
            "u4.f0[1,999999999999]",
            "error[bad-shape]: line 2: A tensor has at most 2147483647 elements, not [1, 999999999999]",
        ),
        (
            "u4.f0[1,4]",
            "u4.f0[1,4",
            "error[type-syntax]: line 2: 'u4.f0[1,4' is no tensor type\n  help: write f32[1,3,8,8] or i8.f6[16,9]",
        ),
        ("%w = const", "%v = const", "error[graph-syntax]: line 3: no data for the constant %v"),
        (
            "i3.f2[2,4]",
            "i2.f2[2,4]",
            "error[invalid-graph]: %w of i2.f2[2,4] must have codes from -2 to 1, not -4 to 3\n"
            "error[type-mismatch]: %y has type i9.f2[1,2], but linear gives i8.f2[1,2]\n  --> model.py:12 (fc)",
        ),
        (
            "= linear",
            "= liner",
            "error[graph-syntax]: line 4: unknown operation 'liner'\n  help: did you mean linear or slice? Known: "
            + ", ".join(sorted(op.name for op in OPS)),
        ),
        ("(%x, %w)", "(%x %w)", "error[graph-syntax]: line 4: expected '%NAME, ...', not '%x %w'"),
        (
            "(%x, %w)",
            "(%x, %z)",
            "error[invalid-graph]: %y uses %z, which is not defined before it\n  --> model.py:12 (fc)",
        ),
        (
            "(%x, %w)",
            "()",
            "error[type-mismatch]: %y: linear takes 2 to 3 arguments, not 0\n  --> model.py:12 (fc)",
        ),
        (
            "(%x, %w)",
            "(%w, %w)",
            "error[type-mismatch]: %y has type i9.f2[1,2], but linear gives i8.f4[2,2]\n  --> model.py:12 (fc)",
        ),
        (
            ' : i9.f2[1,2] @ "m',
            ' i9.f2[1,2] @ "m',
            "error[graph-syntax]: line 4: expected ' : TYPE' after the operation, not "
            '\' i9.f2[1,2] @ "model.py":12 "fc"\'',
        ),
        ("model.py", "\\x", 'error[graph-syntax]: line 4: cannot read the text "\\x"'),
        (
            "i9.f2[1,2]",
            "i10.f2[1,2]",
            "error[type-mismatch]: %y has type i10.f2[1,2], but linear gives i9.f2[1,2]\n  --> model.py:12 (fc)",
        ),
        (
            'number="u8.f4"',
            'number="u8.f999"',
            "error[number-range]: line 5: requantise.number: frac must be between -255 and 255, not 999",
        ),
        (
            'number="u8.f4"',
            "number=[[]]",
            "error[bad-value]: line 5: requantise.number: expected Int number format, not a list of 1",
        ),
        (
            'number="u8.f4", ',
            "",
            "error[missing-key]: line 5: requantise: the key 'number' is missing",
        ),
        (
            "shift=[-2]",
            "shift=[-3]",
            "error[type-mismatch]: %z: requantise i9.f2 to u8.f4 shifts by (-2,), not (-3,)",
        ),
        (
            "shift=[-2]",
            "shift=[-2], shift=[-2]",
            "error[graph-syntax]: line 5: the attribute 'shift' is given twice",
        ),
        (
            "shift=[-2]",
            "shift=[-2], shifts=[-2]",
            "error[unknown-key]: line 5: requantise: unknown key 'shifts'\n"
            "  help: did you mean shift? Known: hi, multiplier, multiplier_frac, number, shift",
        ),
        (
            "shift=[-2]",
            "shift=[-2], multiplier=0",
            "error[bad-value]: line 5: requantise: multiplier of requantise must be between 1 and "
            "9223372036854775807, not 0",
        ),
        (
            "shift=[-2]",
            "shift=[-2], hi=256",
            "error[bad-value]: line 5: requantise: hi must be a code of u8.f4 and at least 0, not 256",
        ),
        (
            "shift=[-2]}",
            "shift=[-2]",
            "error[graph-syntax]: line 5: cannot read the attributes at ' : u8.f4[1,2]'",
        ),
        (
            "shift=[-2]",
            "shift=[",
            "error[graph-syntax]: line 5: cannot read the attributes at ', shift=[} : u8.f4[1,2]'",
        ),
        (
            "return %z",
            "retrun %z",
            "error[graph-syntax]: line 6: expected 'return %NAME, ...' at the end, not 'retrun %z'",
        ),
        ("return %z", "return %z %y", "error[graph-syntax]: line 6: expected '%NAME, ...', not '%z %y'"),
        ("return %z", "return %a", "error[invalid-graph]: output %a is not defined"),
        ("%z = ", "%y = ", "error[invalid-graph]: %y is defined twice\nerror[invalid-graph]: output %z is not defined"),
    ],
)
def test_wrong_text(old: str, new: str, message: str) -> None:
    assert TINY.count(old) == 1
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        parse_graph(TINY.replace(old, new), {"w": WEIGHT})


@pytest.mark.parametrize("text", ["", "\n \n", "graph g", "graph g\nreturn", "\0", "graph g\n" + "%x\n" * 5])
def test_fragments(text: str) -> None:
    with pytest.raises(ToolError, match="graph-syntax"):
        parse_graph(text, {})


def line(operation: str) -> str:
    """A graph whose only operation is the given one."""
    return (
        "graph g\n%x = input : f32[1,2,6,6]\n%i = input : i4.f0[1,2,6,6]\n%w = const : f32[2,2,1,1]\n"
        f"%y = {operation}\nreturn %y\n"
    )


HUGE = "1" + "0" * 4000
DEEP = "[" * 100_000
HOSTILE = [
    *(f"conv2d(%x, %w) {{stride=[{v},1]}} : f32[1,2,6,6]" for v in (0, -1, 2**62, HUGE, "1e999", "true", "null")),
    *(f"conv2d(%x, %w) {{dilation=[{v},1]}} : f32[1,2,6,6]" for v in (0, -1, 2**40, HUGE)),
    *(f"conv2d(%x, %w) {{groups={v}}} : f32[1,2,6,6]" for v in (0, -1, 2**40, HUGE)),
    *(f"conv2d(%x, %w) {{padding=[[{v},0],[0,0]]}} : f32[1,2,6,6]" for v in (-1, 2**40, HUGE, "[]")),
    *(f"{pool}(%x) {{kernel=[{v},1], stride=[1,1]}} : f32[1,2,6,6]"
      for pool in ("max_pool2d", "avg_pool2d", "sum_pool2d") for v in (0, -1, HUGE)),
    *(f"{pool}(%x) {{kernel=[2,2], stride=[{v},1]}} : f32[1,2,6,6]"
      for pool in ("max_pool2d", "avg_pool2d", "sum_pool2d") for v in (0, -1, HUGE)),
    *(f"max_pool2d(%x) {{kernel=[2,2], stride=[1,1], padding=[{v},0]}} : f32[1,2,6,6]" for v in (-1, 2, HUGE)),
    *(f"max_pool2d(%x) {{kernel=[2,2], stride=[1,1], dilation=[{v},1]}} : f32[1,2,6,6]" for v in (-1, 0, 9, HUGE)),
    *(f"avg_pool2d(%x) {{kernel=[2,2], stride=[2,2], divisor={v}}} : f32[1,2,3,3]" for v in (0, -1, HUGE, "1.5")),
    *(f"adaptive_avg_pool2d(%x) {{size=[{v},1]}} : f32[1,2,6,6]" for v in (0, -1, 10**9, HUGE, "[1]")),
    *(f"reshape(%x) {{shape=[1,{v}]}} : f32[1,72]" for v in (0, -72, 71, HUGE, ",".join(["1"] * 50))),
    "reshape(%x) {shape=[]} : f32[]",
    "reshape(%x) {shape=[72]} : f32[72]",
    "reshape(%x) {shape=[1,-8,-9]} : f32[1,-8,-9]",
    *(f"concat(%x, %x) {{axis={v}}} : f32[2,2,6,6]" for v in (0, -1, 4, HUGE, '"1"')),
    "concat() : f32[1,2]",
    "concat(%x, %i) : f32[1,4,6,6]",
    *(f"add(%i, %i) {{shifts=[{v},{v}]}} : i9.f0[1,2,6,6]" for v in (-1, 64, 10**12, HUGE)),
    "add(%x, %i) : f32[1,2,6,6]",
    "add(%x) : f32[1,2,6,6]",
    *(f"clip(%x) {{lo={a}, hi={b}}} : f32[1,2,6,6]" for a, b in ((1, 0), ("NaN", 1), (0, "NaN"), (HUGE, 1))),
    *(f"batch_norm(%x, %x, %x, %x, %x) {{eps={v}}} : f32[1,2,6,6]" for v in (1, -1, "NaN", "1e999", HUGE)),
    "scale_shift(%x, %w, %w) : f32[1,2,6,6]",
    *(f'quantise(%x) {{number="{v}"}} : i8.f0[1,2,6,6]'
      for v in ("i0.f0", "i64.f0", "i8.f999", "i8.f[1,2]@1", "f32", "", "codebook4(f32)", "codebook4(" * 20_000)),
    *(f"dequantise(%i) {{frac={v}}} : f32[1,2,6,6]" for v in ("[]", "[1]", "[0,0]", DEEP, f"[{HUGE}]", "0")),
    *(f'requantise(%i) {{number="i4.f0", shift={v}}} : i4.f0[1,2,6,6]' for v in ("[]", "[1]", "[0,0]", f"[{HUGE}]")),
    *(f'requantise(%i) {{number="i4.f0", shift=[{v}], multiplier_frac={v}}} : i4.f0[1,2,6,6]' for v in (64, HUGE)),
    f'requantise(%i) {{number="i4.f200", shift=[{-200}]}} : i4.f200[1,2,6,6]',
    f'requantise(%i) {{number="i4.f0", shift=[0], multiplier={HUGE}}} : i4.f0[1,2,6,6]',
    "top_k(%x) : u2.f0[1]",
    "relu() : f32[1]",
    "relu(%x, %x) : f32[1,2,6,6]",
    "conv2d(%w, %x) : f32[2,1,1,1]",
    "conv2d(%x, %x) {groups=1} : f32[1,1,1,1]",
    "relu(%w) {a=" + DEEP + "} : f32[1]",
    "relu(%w) {a=" + "[" * 900 + "]" * 900 + "} : f32[1]",
    "conv2d(%x, %w) {stride=" + "[" * 900 + "]" * 900 + "} : f32[1]",
    "clip(%x) {lo=" + '{"a":' * 900 + "1" + "}" * 900 + ", hi=1} : f32[1]",
    "relu(%w) : f32" + "[1" * 10_000,
    "relu(%w) : f32[" + "1," * 50_000 + "1]",
    "relu(%w) : f32[" + ",".join(["999999999999"] * 50_000) + "]",
    "relu(%w) : " + "codebook4(" * 50_000,
    "relu(%w) : i8.f[" + "1," * 100_000 + "1]@0[1]",
    "relu(" + "%w, " * 50_000 + ") : f32[1]",
]  # fmt: skip


@pytest.mark.parametrize("operation", HOSTILE, ids=lambda text: text[:60])
def test_hostile_operation(operation: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_graph(line(operation), {"w": torch.zeros(2, 2, 1, 1)})
    assert len(str(caught.value)) < 60_000


TOKENS = (
    *("0", "-1", "1", "7", "65536", "999999999999", "1" * 30, "NaN", "null"),
    *("[", "]", "{", "}", "(", ")", "[[", '"', "%", "%x", ",", " : ", "\n", "\0", "é"),
    *("f32", "i8.f0", "u63.f0", "i1.f-200", "bipolar", "ternary", "codebook4(i8.f0)"),
)
WORDS = re.compile(r"[A-Za-z0-9_.\-]+|[^A-Za-z0-9_.\-]")


def mutated(text: str, rng: random.Random) -> str:
    """The text with one to three words or lines replaced, removed, doubled or exchanged."""
    words = WORDS.findall(text)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(words)), rng.randrange(len(words))
        match rng.randrange(5):
            case 0:
                words[at] = rng.choice(TOKENS)
            case 1:
                words.insert(at, rng.choice(TOKENS))
            case 2:
                words[at] = words[other]
            case 3:
                words[at] = ""
            case _:
                words[at], words[other] = words[other], words[at]
    return "".join(words)


@pytest.mark.parametrize("graph", [tiny(), cnn()], ids=["tiny", "cnn"])
def test_mutated_text_is_an_error_or_a_graph_that_runs(graph: Graph) -> None:
    rng, data, parsed = random.Random(3), data_of(graph), 0
    for _ in range(400):
        text = mutated(print_graph(graph), rng)
        try:
            found = parse_graph(text, data)
        except ToolError:
            continue
        parsed += 1
        assert_same(parse_graph(print_graph(found), data), found)
        if sum(type_.elements for type_ in found.types.values()) < 100_000:
            for value, name in zip(evaluate(found, *random_input(found, 2, 0)), found.outputs, strict=True):
                assert value.shape[1:] == found.types[name].shape[1:]
    assert parsed > 0


@settings(max_examples=60)
@given(graphs(), st.integers(0, 10**9))
def test_mutated_random_graph_is_an_error_or_a_graph_that_runs(graph: Graph, seed: int) -> None:
    rng, data = random.Random(seed), data_of(graph)
    for _ in range(10):
        with contextlib.suppress(ToolError):
            found = parse_graph(mutated(print_graph(graph), rng), data)
            assert_same(parse_graph(print_graph(found), data), found)
            if sum(type_.elements for type_ in found.types.values()) < 100_000:
                evaluate(found, *random_input(found, 2, 0))


def test_float_graph_reads_its_constants() -> None:
    text = "graph g\n%x = input : f32[1,2]\n%w = const : f32[1,2]\n%y = add(%x, %w) : f32[1,2]\nreturn %y, %w\n"
    graph = parse_graph(text, {"w": torch.tensor([[1.5, -2.0]])})
    assert graph.types["y"] == TensorType((1, 2), Float())
    assert [value.tolist() for value in evaluate(graph, torch.ones(1, 2))] == [[[2.5, -1.0]], [[1.5, -2.0]]]
