"""Storage at full size: the container of a VGG-16, and k-means of 25 M weights into 256 centroids.

python benchmarks/storage.py encode FILE    random weights, 7.5 % dense, 8-bit (convolution) or 5-bit codebooks
python benchmarks/storage.py decode FILE    without torch, as its own process so that its memory is its own
python benchmarks/storage.py kmeans
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from pathlib import Path

import numpy as np

from bitkiln.ir.coding import StoredTensor, read_kiln, write_kiln

DENSITY = 0.075
# Filters and channels of the 3x3 convolutions, then outputs and inputs of the linear layers (Simonyan, Zisserman 2015).
CONVOLUTIONS = ((64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256), (512, 256), (512, 512),
                (512, 512), (512, 512), (512, 512), (512, 512))  # fmt: skip
LINEAR = ((4096, 25088), (4096, 4096), (1000, 4096))
PARAMETERS = 138_357_544


def main() -> None:
    """Run one measurement and print seconds and the process's largest memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("encode", "decode", "kmeans"))
    parser.add_argument("file", type=Path, nargs="?")
    options = parser.parse_args()
    wall, cpu = time.perf_counter(), time.process_time()
    if options.what == "encode":
        wall, cpu = encode(options.file)
    elif options.what == "decode":
        decode(options.file)
    else:
        kmeans()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{options.what}: {time.perf_counter() - wall:.1f} s, CPU {time.process_time() - cpu:.1f} s, {used:.2f} GB")


def encode(file: Path) -> tuple[float, float]:
    """Write the container of random indices, tables and biases; return when the writing began."""
    rng = np.random.default_rng(0)
    lines, tensors = ["graph vgg16"], []
    shapes = [((*pair, 3, 3), 8) for pair in CONVOLUTIONS] + [(pair, 5) for pair in LINEAR]
    for i, (shape, bits) in enumerate(shapes):
        indices = np.zeros(math.prod(shape), np.uint8)
        places = np.flatnonzero(rng.random(len(indices), np.float32) < DENSITY)
        bell = rng.normal(2 ** (bits - 1), 2 ** (bits - 3), len(places))  # few weights near the ends of the table
        indices[places] = bell.clip(1, 2**bits - 1)
        tables = [rng.normal(size=count).astype(np.float32) for count in (2**bits - 1, shape[0])]
        tensors += [StoredTensor(indices.reshape(shape), bits), *(StoredTensor(table, 32) for table in tables)]
        sizes = ",".join(map(str, shape))
        lines += [f"%w{i} = const : codebook{bits}(f32)[{sizes}]", f"%t{i} = const : f32[{2**bits - 1}]"]
        lines.append(f"%b{i} = const : f32[{shape[0]}]")
    assert sum(t.data.size for t in tensors) - sum(2**bits - 1 for _, bits in shapes) == PARAMETERS
    start = time.perf_counter(), time.process_time()
    data, records = write_kiln("\n".join(lines), tensors)
    file.write_bytes(data)
    forms = sorted({f"{record.encoding.value}, {record.gap_bits}-bit gaps" for record in records[::3]})
    print(f"{PARAMETERS:,} parameters in {len(data):,} bytes: {4 * PARAMETERS / len(data):.1f}x; {'; '.join(forms)}")
    return start


def decode(file: Path) -> None:
    """Read the container back, as arrays."""
    tensors = read_kiln(file.read_bytes()).tensors
    print(f"{sum(tensor.data.size for tensor in tensors.values()):,} elements")


def kmeans() -> None:
    """Cluster normal weights from each start, and assign them."""
    from bitkiln.passes._kmeans import Initialisation, Line, assign, cluster  # noqa: PLC0415  # decode needs no torch

    weights = (np.random.default_rng(0).normal(size=25_000_000) * 0.05).astype(np.float32)
    for start in Initialisation:
        wall, cpu = time.perf_counter(), time.process_time()
        line = Line.of(weights)
        centroids = cluster(line, 256, start, 0)
        assign(weights, centroids)
        seconds = f"{time.perf_counter() - wall:.1f} s, CPU {time.process_time() - cpu:.1f} s"
        print(f"{start.value}: {seconds}, squared error {line.errors(line.cuts(centroids)).sum():.4f}")


if __name__ == "__main__":
    main()
