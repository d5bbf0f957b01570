"""hls4ml 1.3.0 and bitkiln write the HLS C++ of the same two networks, compile it and simulate it: CPU seconds, paired.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install hls4ml==1.3.0 torch
    python benchmarks/hls4ml_peer.py --peer /tmp/peer/bin/python
    python benchmarks/hls4ml_peer.py --peer /tmp/peer/bin/python --network lenet_300_100 --samples 200

The networks have random weights: how long either takes does not depend on them. Both have 8-bit weights. hls4ml reads
the PyTorch module (backend Vitis, strategy Resource, `ap_fixed<8,1>` weights, `ap_fixed<16,6>` values, the MLP
`io_parallel` as it is fastest, LeNet-5 `io_stream`); bitkiln reads a graph of 8-bit codes. Generation is everything
from the module or graph in memory to files, in bitkiln also the schedule with its folding and its queues. Compilation
is what `compile()` and `make library` start. Both simulate images in one process; the first call is not counted.
Every time is CPU seconds of the process and of the compilers that it started. The size is that of the C++ files.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bitkiln.hdl.golden_codes import drawn_samples, golden_codes
from bitkiln.hdl.hls import HlsOptions, HlsSimulation, hls_bundle
from bitkiln.hdl.hls.project import FLAGS, top_name
from bitkiln.hdl.hls.simulation import compiled
from bitkiln.ir import Builder, Graph, Int, TensorType
from bitkiln.ir.ops import Conv2d, Linear, MaxPool2d, Requantise, Reshape
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues

CODES, WEIGHTS = Int(8, False, 7), Int(8, True, 7)
MULTIPLIERS = {"lenet_300_100": 4200, "lenet5": 1000}
"""About as many as the peer's reuse factors leave it in the MLP (784 x 300 / 56); LeNet-5 folds as far as it pays."""

# Runs in the peer's Python, which has neither bitkiln nor its versions.
PEER = """
import json, os, resource, sys, warnings
warnings.filterwarnings("ignore")
import hls4ml, numpy as np, torch
from torch import nn

def cpu():
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)

class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
    def forward(self, x):
        return self.fc3(self.relu2(self.fc2(self.relu1(self.fc1(x)))))

class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.pool1, self.pool2, self.flat = nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Flatten()
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, 10)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.flat(self.pool2(self.relu2(self.conv2(x))))
        return self.fc2(self.relu3(self.fc1(x)))

name, folder, samples = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
torch.set_num_threads(1)
model, shape, io = (Mlp(), (784,), "io_parallel") if name == "lenet_300_100" else (LeNet(), (1, 28, 28), "io_stream")
start = cpu()
last = "internal" if io == "io_parallel" else "full"
config = hls4ml.utils.config_from_pytorch_model(
    model.eval(), (None, *shape), granularity="name", backend="Vitis", default_precision="ap_fixed<16,6>",
    default_reuse_factor=56 if io == "io_parallel" else 25, channels_last_conversion=last,
)
config["Model"]["Strategy"] = "Resource"
for layer in config["LayerName"].values():
    layer["Strategy"] = "Resource"
    if "weight" in layer.get("Precision", {}):
        layer["Precision"]["weight"] = "ap_fixed<8,1>"
hls = hls4ml.converters.convert_from_pytorch_model(
    model, hls_config=config, output_dir=folder, backend="Vitis", io_type=io
)
hls.write()
written = cpu()
hls.compile()
compiled = cpu()
images = np.ascontiguousarray(np.random.default_rng(0).random((samples, *shape), np.float32))
if io == "io_stream":
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
hls.predict(images[:2])
begun = cpu()
hls.predict(images)
ended = cpu()
size = sum(
    os.path.getsize(os.path.join(root, file))
    for root, _, files in os.walk(os.path.join(folder, "firmware"))
    for file in files
    if file.endswith((".h", ".cpp", ".txt")) and "ap_types" not in root
)
print("RESULT " + json.dumps({
    "generate_s": written - start, "compile_s": compiled - written, "samples_per_s": samples / (ended - begun),
    "source_bytes": size,
}))
"""


@dataclass(frozen=True)
class Run:
    """CPU seconds, images a CPU second in C simulation, and bytes of C++ and of the weights that it reads."""

    generate_s: float
    compile_s: float
    samples_per_s: float
    source_bytes: int

    @property
    def total_s(self) -> float:
        return self.generate_s + self.compile_s


def cpu_seconds() -> float:
    """CPU seconds of this process and of the ones that it waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def network(name: str) -> Graph:
    """The graph of codes."""
    generator, build = torch.Generator().manual_seed(0), Builder(name)

    def codes(weight: str, shape: tuple[int, ...]) -> str:
        data = torch.randint(-20, 21, shape, generator=generator).to(torch.int8)
        return build.constant(weight, TensorType(shape, WEIGHTS), data)

    def requantised(value: str, to: str) -> str:
        return build.add(Requantise(CODES, (7,)), (value,), to)

    if name == "lenet_300_100":
        x, sizes = build.input("x", TensorType((1, 784), CODES)), (784, 300, 100, 10)
    else:
        x, sizes = build.input("x", TensorType((1, 1, 28, 28), CODES)), (800, 500, 10)
        for layer, (channels, filters) in enumerate(((1, 20), (20, 50)), 1):
            weight = codes(f"conv{layer}.weight", (filters, channels, 5, 5))
            x = build.add(Conv2d((1, 1), ((0, 0), (0, 0)), (1, 1), 1), (x, weight), f"conv{layer}")
            x = requantised(x, f"codes{layer}")
            x = build.add(MaxPool2d((2, 2), (2, 2), (0, 0), (1, 1), False), (x,), f"pool{layer}")
        x = build.add(Reshape((1, 800)), (x,), "flat")
    for layer, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        x = build.add(Linear(), (x, codes(f"fc{layer}.weight", (outputs, inputs))), f"fc{layer}")
        x = requantised(x, f"fc{layer}.codes")
    return build.graph((x,))


def run_here(name: str, samples: int) -> Run:
    """Generate, compile and simulate here; all results are compared with the golden model."""
    graph = network(name)
    start = cpu_seconds()
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=MULTIPLIERS[name])))
    bundle = hls_bundle(plan)
    with tempfile.TemporaryDirectory() as folder:
        bundle.write(Path(folder) / "hls")
        generated = cpu_seconds()
        compiled(bundle, top_name(plan), HlsOptions(), Path(folder) / "cache", FLAGS)
        made = cpu_seconds()
        simulation = HlsSimulation(plan, cache_folder=Path(folder) / "cache")
        codes, golden = golden_codes(plan, drawn_samples(graph, samples, seed=1))
        simulation.run(codes[:2])
        begun = cpu_seconds()
        results = simulation.run(codes)
        ended = cpu_seconds()
    assert (results == golden).all()
    size = sum(len(content) for path, content in bundle.files if path.startswith(("src/", "csim/")))
    return Run(generated - start, made - generated, samples / (ended - begun), size)


def run_peer(python: str, name: str, samples: int) -> Run:
    """The same in the peer's Python."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-c", PEER, name, f"{folder}/project", str(samples)]
        output = subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    return Run(**json.loads(line.removeprefix("RESULT ")))


def main() -> None:
    """Print two lines a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="Python of the environment with hls4ml and torch")
    parser.add_argument("--network", choices=sorted(MULTIPLIERS), help="only this one")
    parser.add_argument("--samples", type=int, default=500, help="images in C simulation (default: 500)")
    parser.add_argument("--json", action="store_true", help="the runs as JSON")
    arguments = parser.parse_args()
    table = Table("network", "tool", "generate CPU s", "compile CPU s", "images/CPU s", "source MB")
    found = {}
    for name in sorted(MULTIPLIERS):
        if arguments.network not in (None, name):
            continue
        runs = {
            "hls4ml": run_peer(arguments.peer, name, arguments.samples),
            "bitkiln": run_here(name, arguments.samples),
        }
        found[name] = {tool: asdict(run) for tool, run in runs.items()}
        for tool, run in runs.items():
            rate = f"{run.samples_per_s:,.0f}"
            table.add_row(
                name, tool, f"{run.generate_s:.2f}", f"{run.compile_s:.2f}", rate, f"{run.source_bytes / 1e6:.2f}"
            )
        peer, own = runs["hls4ml"], runs["bitkiln"]
        shorter, faster = peer.total_s / own.total_s, own.samples_per_s / peer.samples_per_s
        table.add_row("", "ratio", f"total {shorter:.1f}x shorter", "", f"{faster:.1f}x", "")
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
