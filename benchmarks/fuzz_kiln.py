"""Mutated containers: each must give a Diagnostic or a graph, soon, and without much memory.

python benchmarks/fuzz_kiln.py [--files 10000] [--seed 0]

Half of the files keep a right check sum, so that the mutations reach what is behind it.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, ToolError, decode_kiln, encode_kiln, storage_dtype
from bitkiln.ir.coding import read_kiln, write_kiln
from bitkiln.ir.coding.kiln import constant_names
from bitkiln.ir.ops import Conv2d, Linear, Relu, Reshape
from bitkiln.passes import Code, Context, HashWeights, Share, ShareVectors

SLOWEST_SECONDS = 10.0
MOST_MEMORY_MB = 1024


def main() -> None:
    """Print how the files ended, the slowest one and the memory; fail where one crashes or takes too much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    originals = [encode_kiln(graph) for graph in networks()]
    before, slowest = _memory_mb(), 0.0
    outcomes: Counter[str] = Counter()
    for content in mutations(originals, rng, options.files):
        start = time.perf_counter()
        outcomes[outcome(content)] += 1
        slowest = max(slowest, time.perf_counter() - start)
    grown = _memory_mb() - before
    print(f"{options.files} files of {min(map(len, originals))} to {max(map(len, originals))} bytes: {dict(outcomes)}")
    print(f"slowest {slowest:.2f} s, memory grown by {grown:.0f} MB")
    assert slowest < SLOWEST_SECONDS
    assert grown < MOST_MEMORY_MB


def outcome(content: bytes) -> str:
    """Read a file: the slug of the Diagnostic, or `graph`; everything else escapes."""
    try:
        decode_kiln(content, "file")
    except ToolError as error:
        return error.diagnostics[0].slug
    return "graph"


def mutations(originals: list[bytes], rng: random.Random, count: int) -> Iterator[bytes]:
    """Truncated, flipped, spliced, repeated and random bytes; a fifth of the files get another text as well."""
    for i in range(count):
        original = originals[rng.randrange(len(originals))]
        if i % 5 == 0:
            original = _with_other_text(original, rng)
            if i % 10 == 0:
                yield original
                continue
        body = bytearray(original[:-4])
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            _mutate(body, rng, originals)
        right = zlib.crc32(body).to_bytes(4, "little")
        yield bytes(body) + (right if i % 2 else original[-4:])


def _mutate(body: bytearray, rng: random.Random, originals: list[bytes]) -> None:
    first = 9 if rng.random() < 0.95 else 0  # mostly behind magic and version
    at = rng.randrange(first, max(first + 1, len(body)))
    match rng.randrange(7):
        case 0:
            del body[at:]
        case 1 | 2:
            body[at : at + 1] = bytes([(body[at] if at < len(body) else 0) ^ 1 << rng.randrange(8)])
        case 3:
            body[at : at + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
        case 4:
            body[at : at + 1] = rng.choice(
                (b"\xff\xff\xff\xff\x07", b"\0", b"\x80\x80\x80\x80\x80\x01", b"\x7f", b"\1")
            )
        case 5:
            other = originals[rng.randrange(len(originals))]
            start = rng.randrange(len(other))
            body[at : at + rng.randint(0, 64)] = other[start : start + rng.randint(0, 64)]
        case _:
            body[at:at] = body[at : at + rng.randint(1, 200)]


def _with_other_text(original: bytes, rng: random.Random) -> bytes:
    """The container with some characters of the graph's text changed and the same records behind it."""
    container = read_kiln(original)
    text = list(container.text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text))
        text[at : at + rng.randint(0, 2)] = rng.choices('0179-[]{}",:%\nf ', k=rng.randint(0, 2))
    changed, tensors = "".join(text), list(container.tensors.values())
    return write_kiln(changed, tensors)[0] if len(constant_names(changed)) == len(tensors) else original


def networks() -> list[Graph]:
    """Floats, codes, pruned and shared weights: every layout and form of stream occurs."""
    generator = torch.Generator().manual_seed(0)
    build = Builder("small")
    x = build.input("x", TensorType((1, 2, 6, 6), Float()))
    weight = torch.randn(4, 2, 3, 3, generator=generator)
    w1 = build.constant("conv.weight", TensorType((4, 2, 3, 3), Float()), weight)
    x = build.add(Relu(), (build.add(Conv2d(), (x, w1), "conv"),), "relu")
    sparse = torch.randn(40, 64, generator=generator)
    w2 = build.constant("fc.weight", TensorType((40, 64), Float()), sparse * (sparse.abs() > 1.6))
    bias = build.constant("fc.bias", TensorType((40,), Float()), torch.zeros(40))
    graph = build.graph((build.add(Linear(), (build.add(Reshape((1, 64)), (x,), "flat"), w2, bias), "fc"),))
    none = torch.zeros(1, 2, 6, 6)
    context = Context(none, none, torch.zeros(1), 0, graph)
    shared = Share(4).run(graph, context)
    vectors = ShareVectors(4, 2, levels=2).run(graph, context)
    coded = Code(5, huffman=False).run(HashWeights(0.2).run(graph, context), context)
    return [graph, shared, vectors, coded, _codes(), replace(shared, name="x" * 300)]


def _codes() -> Graph:
    generator = torch.Generator().manual_seed(1)
    build = Builder("codes")
    names = []
    for bits in (1, 3, 8, 11, 33):
        number = Int(bits, True, 2)
        drawn = torch.randn(30, 20, generator=generator, dtype=torch.float64) * 2.0 ** (bits - 3)
        codes = drawn.round().clamp(number.lo, number.hi).to(storage_dtype(number))
        names.append(build.constant(f"w{bits}", TensorType((30, 20), number), codes))
    return build.graph(names)


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
