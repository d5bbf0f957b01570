"""Between a Plan's codes and the bytes of its streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Plan, Stream

from .trace import Beats

Codes = NDArray[np.int64]


def pack_inputs(plan: Plan, codes: Codes) -> Beats:
    """Return the input beats (images * beats, bytes a beat) of codes [images, elements] in the graph's order."""
    return pack(codes[:, plan.input_order], plan.stream[plan.input_stream])


def pack_outputs(plan: Plan, codes: Codes) -> Beats:
    """Return the output beats that codes [images, elements] in the graph's order should come out as."""
    return pack(codes[:, plan.output_order], plan.stream[plan.output_stream])


def unpack_outputs(plan: Plan, beats: Beats) -> Codes:
    """Return the codes [images, elements] in the graph's order that output beats carry."""
    streamed = unpack(beats, plan.stream[plan.output_stream]).reshape(-1, len(plan.output_order))
    codes = np.empty_like(streamed)
    codes[:, plan.output_order] = streamed
    return codes


def pack(codes: Codes, stream: Stream) -> Beats:
    """Return codes in stream order as beats: element 0 in the lowest bits, bytes little-endian, unused bits 0."""
    beat = stream.beat
    fields = (codes + 1) >> 1 if beat.bipolar else codes
    masked = fields.reshape(-1, beat.lanes, 1) & ((1 << beat.bits) - 1)
    bits = (masked >> np.arange(beat.bits)) & 1
    return np.packbits(bits.reshape(len(bits), -1).astype(np.uint8), axis=1, bitorder="little")


def unpack(beats: Beats, stream: Stream) -> Codes:
    """Return the codes in stream order that beats carry, one row of `lanes` a beat."""
    beat = stream.beat
    bits = np.unpackbits(beats, axis=1, bitorder="little", count=beat.width)
    codes = bits.reshape(len(beats), beat.lanes, beat.bits).astype(np.int64) @ (1 << np.arange(beat.bits))
    if beat.bipolar:
        return 2 * codes - 1
    return np.where(codes >> (beat.bits - 1) != 0, codes - (1 << beat.bits), codes) if beat.signed else codes
