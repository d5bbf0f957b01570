"""A Plan on a board: images go through the serial port, and each result is compared with the golden model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir import Int, Plan, TensorType, fail

from .beats import Codes
from .host import Device
from .plan_identity import plan_digest
from .verify import golden_codes
from .weights import weights_of


@dataclass(frozen=True, eq=False)
class RemoteResults:
    """What came back for [images] images, all in the graph's order.

    `codes` and `golden` are [images, elements], `values` what the codes mean; the device counted `latency_cycles`.
    """

    codes: Codes
    golden: Codes
    values: NDArray[np.float64]
    latency_cycles: tuple[int, ...]

    @property
    def mismatches(self) -> int:
        """How many images have another result than the golden model gives."""
        return int((self.codes != self.golden).any(axis=1).sum())


def infer_plan(
    device: Device, plan: Plan, samples: Tensor, on_image: Callable[[int], None] = lambda done: None
) -> RemoteResults:
    """Run `samples` (what the plan's graph takes) on the device, which must hold this very plan.

    Weights that the host loads are loaded first, unless they are there. Raises `wrong-design` if it holds another
    plan, and what `Device.infer` and `Device.load` raise.
    """
    identity = device.identify()
    if identity.design_digest != plan_digest(plan):
        message = "the chip holds another design than this graph with these options makes"
        hint = "flash the bitstream that was built from it, and give the options that it was built with"
        raise fail("wrong-design", message, hint=hint)
    weights = weights_of(plan)
    if weights.data and identity.weights_digest != weights.digest:
        device.load(weights)
    given, golden = golden_codes(plan, samples)
    codes, latencies = np.empty_like(golden), []
    for image, elements in enumerate(given[:, plan.input_order].tolist()):
        found = device.infer(elements)
        codes[image, plan.output_order] = found.codes
        latencies.append(found.latency_cycles)
        on_image(image + 1)
    return RemoteResults(codes, golden, codes * _scale(plan.graph.types[plan.output_value]), tuple(latencies))


def _scale(of: TensorType) -> NDArray[np.float64]:
    """Return what a code of 1 means, for each element of a tensor."""
    if not isinstance(of.number, Int):
        return np.ones(1)
    steps = np.exp2(-np.array(of.number.fracs, np.float64))
    if of.number.axis is None:
        return steps
    along = [1] * len(of.shape)
    along[of.number.axis] = len(steps)
    return np.broadcast_to(steps.reshape(along), of.shape).reshape(-1)
