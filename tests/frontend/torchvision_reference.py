"""The numbers that torchvision publishes for its networks, and the arguments that they hold for."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bitkiln.frontend.torchvision_shim import torchvision_model

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


# Networks whose outputs are compared, and an image size that is as small as each allows: eager PyTorch runs them, too.
SMALL_SIZES = {
    **dict.fromkeys(("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"), 64),
    **dict.fromkeys(("densenet121", "densenet169", "regnet_x_400mf", "regnet_y_400mf", "regnet_y_800mf"), 64),
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_3"), 64),
    **dict.fromkeys(("shufflenet_v2_x0_5", "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1"), 64),
    **dict.fromkeys(("efficientnet_b0", "efficientnet_b3", "efficientnet_v2_s", "convnext_tiny", "googlenet"), 64),
    **dict.fromkeys(("vgg11", "vgg11_bn", "alexnet", "inception_v3"), 96),
    **dict.fromkeys(("swin_t", "swin_v2_t"), 64),
    **dict.fromkeys(("vit_b_32", "vit_b_16", "maxvit_t"), 224),
    **dict.fromkeys(("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"), 64),
}


def random_network(name: str) -> nn.Module:
    """A network with weights and statistics that leave no branch near zero (layer scales and heads start there)."""
    arguments = dict(_ARGUMENTS.get(name, ()))
    if name.startswith(("fcn", "deeplab")):
        arguments = dict(_SEGMENTATION)
    module = torchvision_model(name, **{**arguments, **({"aux_logits": False} if "aux_logits" in arguments else {})})
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.BatchNorm2d):
                assert child.running_mean is not None
                assert child.running_var is not None
                child.running_mean.normal_(0, 0.1)
                child.running_var.uniform_(0.8, 1.2)
        for parameter in module.parameters():
            if parameter.dim() <= 1 or float(parameter.abs().max()) < 1e-4:
                parameter.normal_(1 if parameter.dim() == 1 else 0, 0.1)
    return module


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
