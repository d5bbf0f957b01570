"""How long simulations take: VGG-16 on each dense accelerator, and all of torchvision's classifiers on three dataflows.

    python benchmarks/simulator_speed.py               # VGG-16
    python benchmarks/simulator_speed.py --torchvision # a minute, half of it to build the networks

Times are CPU seconds in one thread, the mean of ten simulations for VGG-16. Reading a model is not part of them; shapes
of torchvision's networks come from a pass of an empty image through the modules, without weights.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bitkiln.frontend.torchvision_shim import import_torchvision
from bitkiln.sim.accelerator import Dataflow, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.simulate import simulate
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.workload import Layer, LayerKind, Workload

REPETITIONS = 10
TRANSFORMERS = ("vit_", "swin_", "maxvit_")


def shapes(name: str, module: nn.Module, image: Tensor) -> Workload:
    """Return the convolutions and linear layers that `image` passes, in that order."""
    layers: list[Layer] = []

    def convolution(name: str) -> object:
        def note(module: nn.Conv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
            x = inputs[0]
            pad = module.padding if isinstance(module.padding, tuple) else (0, 0)
            layers.append(
                Layer(
                    name,
                    LayerKind.CONVOLUTION,
                    x.shape[2],
                    x.shape[3],
                    module.in_channels,
                    module.out_channels,
                    (module.kernel_size[0], module.kernel_size[1]),
                    (module.stride[0], module.stride[1]),
                    ((int(pad[0]), int(pad[0])), (int(pad[1]), int(pad[1]))),
                    (module.dilation[0], module.dilation[1]),
                    module.groups,
                )
            )

        return note

    def linear(name: str) -> object:
        def note(module: nn.Linear, inputs: tuple[Tensor, ...], _: Tensor) -> None:
            rows = math.prod(inputs[0].shape[1:-1])
            layers.append(Layer(name, LayerKind.MATRIX, rows, 1, module.in_features, module.out_features))

        return note

    for label, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(convolution(label))  # type: ignore[arg-type]  # a hook of this module's kind
        elif isinstance(part, nn.Linear):
            part.register_forward_hook(linear(label))  # type: ignore[arg-type]  # a hook of this module's kind
    with torch.no_grad():
        module.eval()(image)
    chained = [
        replace(layer, source=before.name if before.output_count == layer.input_count else "")
        for before, layer in itertools.pairwise(layers)
    ]
    return Workload(name, (layers[0], *chained))


@contextmanager
def _regnet_widths_computed(params: type) -> Iterator[None]:
    """RegNet computes its widths with tensors, which need values although the network's own have none."""
    original = params.from_init_params  # type: ignore[attr-defined]  # torchvision's class

    def with_values(*arguments: object, **options: object) -> object:
        with torch.device("cpu"):
            return original(*arguments, **options)

    params.from_init_params = staticmethod(with_values)  # type: ignore[attr-defined]  # torchvision's class
    yield
    params.from_init_params = original  # type: ignore[attr-defined]  # torchvision's class


def vgg16() -> Table:
    """CPU milliseconds on each accelerator for dense networks."""
    import_torchvision()
    import torchvision  # noqa: PLC0415  # an extra

    with torch.device("meta"):
        workload = shapes("vgg16", torchvision.models.vgg16(), torch.empty(1, 3, 224, 224))
    table = Table("accelerator", "CPU ms", "compute cycles", "cycles", "mJ", "DRAM MB")
    technology = find_technology("45nm")
    for name in ("systolic-32", "tpu-like", "eyeriss-like"):
        accelerator = find_accelerator(name)
        start = time.process_time()
        for _ in range(REPETITIONS):
            found = simulate(workload, accelerator, technology)
        milliseconds = (time.process_time() - start) / REPETITIONS * 1e3
        moved = found.counts.bits(Level.DRAM) / 8e6
        row = f"{milliseconds:.1f}", f"{found.compute_cycles:,}", f"{found.cycles:,}"
        table.add_row(name, *row, f"{found.energy.total_pj / 1e9:.2f}", f"{moved:.1f}")
    return table


def torchvision_networks() -> Table:
    """CPU seconds for every classifier of torchvision without transformers, on the three systolic dataflows."""
    import_torchvision()
    import torchvision  # noqa: PLC0415  # an extra

    names = [name for name in torchvision.models.list_models(torchvision.models) if not name.startswith(TRANSFORMERS)]
    table = Table("networks", "layers", "simulations", "CPU s", "CPU ms a layer")
    workloads = []
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight initialization.*")
    with torch.device("meta"), _regnet_widths_computed(torchvision.models.regnet.BlockParams):
        for name in names:
            size = 299 if name == "inception_v3" else 224
            module = torchvision.models.get_model(name, weights=None)
            workloads.append(shapes(name, module, torch.empty(1, 3, size, size)))
    accelerators = [find_accelerator("systolic-32").with_dataflow(dataflow) for dataflow in Dataflow]
    technology = find_technology("45nm")
    start = time.process_time()
    for workload in workloads:
        for accelerator in accelerators:
            simulate(workload, accelerator, technology)
    seconds = time.process_time() - start
    layers = sum(len(workload.layers) for workload in workloads)
    count = len(workloads) * len(accelerators)
    each = seconds / (layers * len(accelerators)) * 1e3
    table.add_row(str(len(names)), f"{layers:,}", str(count), f"{seconds:.1f}", f"{each:.2f}")
    return table


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchvision", action="store_true", help="all of torchvision's convolutional classifiers")
    torch.set_num_threads(1)
    Console(width=120).print(torchvision_networks() if parser.parse_args().torchvision else vgg16())


if __name__ == "__main__":
    main()
