"""The recipe of examples/compress on scikit-learn's digits: trained, pruned in steps, shared, stored, read back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.frontend.torch_import import import_module
from bitkiln.ir import Graph, decode_kiln, encode_kiln
from bitkiln.passes import Context, Pass, accuracy, read_passes, run_passes

TRAINING = {"batch": 32, "optimizer": "sgd", "keep_best": False, "weight_decay": 1e-4}
RECIPE = [
    {"name": "tune", "epochs": 15, "learning_rate": 0.1, **TRAINING},
    {
        "name": "gradual_prune",
        "steps": 4,
        "prune": {"density": 0.04, "layers": [{"layer": "3", "density": 0.3}]},
        "tune": {"epochs": 3, "learning_rate": 0.1, "schedule": "constant", **TRAINING},
        "last": {"epochs": 15, "learning_rate": 0.1, **TRAINING},
    },
    {"name": "share", "index_bits": 4, "bias_bits": 4},
    {"name": "tune", "epochs": 3, "learning_rate": 0.002, "batch": 32, "optimizer": "sgd"},
]


def network(seed: int) -> Graph:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
    return import_module(module.eval(), (1, 1, 8, 8), "digits")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_digits_in_a_thirtieth_of_the_bytes(seed: int) -> None:
    data = load_dataset(DataSpec(DataFormat.DIGITS))
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    graph = network(seed)
    states: list[Graph] = []

    def remember(step: Pass, result: Graph) -> None:
        states.append(result)

    small = run_passes(graph, read_passes(RECIPE, "recipe"), Context(x[:1], x, y, seed, graph), remember)
    stored = encode_kiln(small)
    test = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)
    before, after = accuracy(states[0], *test), accuracy(decode_kiln(stored, "digits.kiln"), *test)
    assert before > 0.95
    assert after > before - 0.015
    assert 4 * graph.params > 30 * len(stored)
