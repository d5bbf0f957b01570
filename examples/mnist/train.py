"""Train a LeNet on the real MNIST: python examples/mnist/train.py --model lenet5 --data FOLDER

Plain PyTorch; only the samples and the weight file pass through bitkiln. The last weights are kept: the test set
chooses nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lenet5  # type: ignore[import-not-found]  # found beside this file, which runs as a script
import lenet_300_100  # type: ignore[import-not-found]  # likewise
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitkiln.frontend.datasets import DataFormat, DataSpec, load_dataset
from bitkiln.frontend.state import save_state


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; `shift_pixels` is the largest random shift of a training image, each way."""

    build: Callable[[], nn.Module]
    epochs: int
    learning_rate: float
    shift_pixels: int
    batch: int = 128


RECIPES = {
    "lenet_300_100": Recipe(lenet_300_100.build, epochs=20, learning_rate=2e-3, shift_pixels=1),
    "lenet5": Recipe(lenet5.build, epochs=6, learning_rate=2e-3, shift_pixels=1),
}


def shifted(images: Tensor, pixels: int) -> Tensor:
    """Return the batch (n, c, h, w) moved by one random offset of at most `pixels` each way, edges filled with 0."""
    height, width = images.shape[2:]
    padded = F.pad(images, [pixels] * 4)
    down, right = torch.randint(2 * pixels + 1, (2,)).tolist()
    return padded[:, :, down : down + height, right : right + width]


def train(model: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
    """Fit the model to the samples; what follows from torch's seed is all that is random."""
    steps_per_epoch = len(images) // recipe.batch
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch
    )
    model.train()
    for epoch in range(1, recipe.epochs + 1):
        start, total_loss = time.monotonic(), 0.0
        for batch in torch.randperm(len(images))[: steps_per_epoch * recipe.batch].split(recipe.batch):
            loss = F.cross_entropy(model(shifted(images[batch], recipe.shift_pixels)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total_loss += float(loss.detach())
        seconds = time.monotonic() - start
        print(f"epoch {epoch}/{recipe.epochs}: loss {total_loss / steps_per_epoch:.4f}, {seconds:.0f} s", flush=True)


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that get their label, 0 to 1."""
    model.eval()
    right = sum(
        int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000), strict=True)
    )
    return right / len(labels)


def main() -> None:
    """Train, write the weights, say how good they are."""
    parser = argparse.ArgumentParser(description="Train a LeNet on MNIST.")
    parser.add_argument("--model", choices=sorted(RECIPES), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four idx files, gzipped or not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="weight file (default: MODEL.safetensors beside this file)")
    arguments = parser.parse_args()
    output = arguments.output or Path(__file__).parent / f"{arguments.model}.safetensors"

    # One thread: a second one gains little, and the weights then depend on no core count.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    data = load_dataset(DataSpec(DataFormat.IDX, str(arguments.data)))
    recipe = RECIPES[arguments.model]
    model = recipe.build()
    train(model, recipe, torch.from_numpy(data.train_x), torch.from_numpy(data.train_y))
    save_state(model, output)
    on_test = accuracy(model, torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
    print(f"{len(data.train_x)} training and {len(data.test_x)} test images, seed {arguments.seed}")
    print(f"test accuracy {on_test:.2%}, weights in {output}")


if __name__ == "__main__":
    main()
