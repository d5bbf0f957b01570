"""The numbers that torchvision publishes for its networks, and the arguments that they hold for."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

# Constructor arguments that the published numbers need beside the defaults.
_ARGUMENTS: dict[str, tuple[tuple[str, object], ...]] = {
    "googlenet": (("aux_logits", False), ("transform_input", True), ("init_weights", False)),
    "inception_v3": (("aux_logits", True), ("transform_input", True), ("init_weights", False)),
    "vit_h_14": (("image_size", 518),),
    "lraspp_mobilenet_v3_large": (("weights_backbone", None),),
}
_SEGMENTATION = (("aux_loss", True), ("weights_backbone", None))


@dataclass(frozen=True)
class Reference:
    name: str
    input_shape: tuple[int, ...]
    arguments: tuple[tuple[str, object], ...]
    params: int
    giga_macs: float

    def agrees(self, params: int, macs: int) -> bool:
        """True if the parameters are equal, and the work is after rounding to three decimals."""
        return params == self.params and abs(macs / 1e9 - self.giga_macs) <= 0.000501


def read_references(data: Path) -> list[Reference]:
    """Return the 80 classification and 6 segmentation networks with their default weights' input size."""
    with (data / "published" / "torchvision_reference.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["is_default"] == "1"]
    references = []
    for row in rows:
        if row["task"] not in ("classification", "segmentation"):
            continue
        default = _SEGMENTATION if row["task"] == "segmentation" else ()
        height, width = (int(row[key] or 520) for key in ("input_h", "input_w"))
        arguments = _ARGUMENTS.get(row["name"], default)
        references.append(
            Reference(row["name"], (1, 3, height, width), arguments, int(row["num_params"]), float(row["gops"]))
        )
    return references
