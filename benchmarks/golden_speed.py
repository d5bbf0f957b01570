"""Images per second of the golden model: a small quantised CNN (1x8x8 input, 8 and 16 channels) in exact codes.

python benchmarks/golden_speed.py
"""

from __future__ import annotations

import time

import torch

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, evaluate_batches, exact_dtype, storage_dtype
from bitkiln.ir.ops import Conv2d, Linear, MaxPool2d, Quantise, Requantise, Reshape

IMAGES = 20_000
REPEATS = 5
BATCHES = (1, 16, 64, 256, 1024)


def main() -> None:
    """Print the speed for several batches, the best of some repeats each."""
    graph = small_cnn()
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    print(f"{graph.total_macs} MACs an image, {exact_dtype(graph)}, {torch.get_num_threads()} threads")
    for batch in BATCHES:
        sample = images[: min(IMAGES, 500 * batch)]
        best = min(_seconds(graph, sample, batch) for _ in range(REPEATS))
        print(f"batch {batch:5}: {len(sample) / best:10,.0f} images/s")


def _seconds(graph: Graph, images: torch.Tensor, batch: int) -> float:
    start = time.perf_counter()
    evaluate_batches(graph, images, batch)
    return time.perf_counter() - start


def small_cnn() -> Graph:
    """Two 3x3 convolutions (8 and 16 channels), each with requantisation and 2x2 max pooling, and a linear layer."""
    generator = torch.Generator().manual_seed(0)

    def weights(name: str, *shape: int) -> str:
        number = Int(8, True, 7)
        codes = torch.randint(-128, 128, shape, generator=generator).to(storage_dtype(number))
        return build.constant(name, TensorType(shape, number), codes)

    build = Builder("small_cnn")
    x = build.add(Quantise(Int(8, False, 8)), (build.input("x", TensorType((1, 1, 8, 8), Float())),), "codes")
    channels = 1
    for layer, width in enumerate((8, 16)):
        x = build.add(
            Conv2d(padding=((1, 1), (1, 1))), (x, weights(f"w{layer}", width, channels, 3, 3)), f"conv{layer}"
        )
        frac = build.types[x].number
        assert isinstance(frac, Int)
        x = build.add(Requantise(Int(8, False, 6), (frac.fracs[0] - 6,)), (x,), f"requantise{layer}")
        x = build.add(MaxPool2d((2, 2), (2, 2)), (x,), f"pool{layer}")
        channels = width
    x = build.add(Reshape((1, 64)), (x,), "flat")
    x = build.add(Linear(), (x, weights("w2", 10, 64)), "scores")
    return build.graph((x,))


if __name__ == "__main__":
    main()
