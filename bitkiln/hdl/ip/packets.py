"""Between codes and the bytes of the block's packets: each beat in `tdata_bytes` bytes, little endian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.hdl.beats import Codes, pack_inputs, pack_outputs
from bitkiln.hdl.golden_codes import golden_codes
from bitkiln.hdl.protocol import StreamFormat
from bitkiln.hdl.trace import Beats
from bitkiln.ir import Plan

from .framing import tdata_bytes


@dataclass(frozen=True, eq=False)
class Golden:
    """Images and what the golden model gives for them, as beats of the Plan's streams."""

    images: Beats
    results: Beats

    @classmethod
    def of(cls, plan: Plan, samples: Tensor) -> Golden:
        """`samples` are what the graph takes, floats mostly."""
        return cls.of_codes(plan, *golden_codes(plan, samples))

    @classmethod
    def of_codes(cls, plan: Plan, codes: Codes, golden: Codes) -> Golden:
        return cls(pack_inputs(plan, codes), pack_outputs(plan, golden))


def packets_of(beats: Beats, stream: StreamFormat) -> NDArray[np.uint8]:
    """Return beats as packets [images, bytes], as a DMA moves them."""
    wide = np.zeros((len(beats), tdata_bytes(stream.beat.width)), np.uint8)
    wide[:, : beats.shape[1]] = beats
    return wide.reshape(-1, stream.beats * wide.shape[1])


def beats_of(packets: NDArray[np.uint8], stream: StreamFormat) -> Beats:
    """Return the beats of packets [images, bytes]; the bytes above a beat's are left out."""
    wide = packets.reshape(-1, tdata_bytes(stream.beat.width))
    return np.ascontiguousarray(wide[:, : stream.bytes_per_beat])
