"""Train the digits network in some seconds on one core: python examples/digits/train.py

Plain PyTorch; only the samples and the weight file pass through bitkiln, so that the split is the one by which
every later accuracy is measured. The last weights are kept: the test set chooses nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from model import build  # type: ignore[import-not-found]  # found beside this file, which runs as a script
from torch import Tensor, nn
from torch.nn import functional as F

from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.frontend.state import save_state

EPOCHS = 30
BATCH = 64
LEARNING_RATE = 1e-2


def train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Fit the model to the samples; what follows from torch's seed is all that is random."""
    steps_per_epoch = len(images) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, EPOCHS * steps_per_epoch)
    model.train()
    for _ in range(EPOCHS):
        # The samples left over by whole batches differ from epoch to epoch.
        order = torch.randperm(len(images))[: steps_per_epoch * BATCH]
        for batch in order.split(BATCH):
            loss = F.cross_entropy(model(images[batch]), labels[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that get their label, 0 to 1."""
    model.eval()
    return float((model(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train, write the weights, say how good they are."""
    parser = argparse.ArgumentParser(description="Train the digits network.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "weights.safetensors")
    arguments = parser.parse_args()

    # One thread: batches this small gain nothing from a second one, and the weights then depend on no core count.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    data = load_dataset(DataSpec(DataFormat.DIGITS))
    model: nn.Module = build()
    train(model, torch.from_numpy(data.train_x), torch.from_numpy(data.train_y))
    save_state(model, arguments.output)
    on_test = accuracy(model, torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
    print(f"{len(data.train_x)} training and {len(data.test_x)} test images, seed {arguments.seed}")
    print(f"test accuracy {on_test:.2%}, weights in {arguments.output}")


if __name__ == "__main__":
    main()
