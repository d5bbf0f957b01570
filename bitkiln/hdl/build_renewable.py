"""A bitstream for iCE40 whose weights can be replaced.

The design is built as its template, whose random contents say where each bit went; then its own contents take their
place. The record beside the bitstream keeps those places, so that later weights can do the same (`bitkiln.hdl.patch`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bitkiln.boards import Board

from .build import BuildResult, build_bundle
from .bundle import Bundle
from .ice40_bitstream import bitstream_with_rams, rams_of_bitstream
from .ice40_contents import find_places, netlist_with_rams, rams_of, rams_of_netlist, renewed, with_rams
from .patch import PatchRecord
from .renewal import Renewal, contents_of, template


def build_renewable(
    own: Renewal,
    design: Bundle,
    board: Board,
    *,
    cache: Path | None,
    on_step: Callable[[str], None],
    use_dsp: bool,
    must_meet_clock: bool,
) -> BuildResult:
    """Build the template of `design`, which all of its structure share in the cache, and put in its `own` contents."""
    assert contents_of(design) == {one.name: one for one in own.memories}, "the accelerator is the same behind the link"
    blank = template(design)
    built = build_bundle(blank, board, cache=cache, on_step=on_step, use_dsp=use_dsp, must_meet_clock=must_meet_clock)
    filled = contents_of(blank)
    random = tuple(filled[one.name] for one in own.memories)
    rams = rams_of_bitstream(built.bitstream)
    places = find_places(rams, random)
    bitstream = bitstream_with_rams(built.bitstream, renewed(rams, places, own.memories))
    netlist, routed = built.netlist.decode(), built.routed.decode()
    cells, tiles = rams_of_netlist(netlist), rams_of(routed)
    return replace(
        built,
        bitstream=bitstream,
        netlist=netlist_with_rams(netlist, renewed(cells, find_places(cells, random), own.memories)).encode(),
        routed=with_rams(routed, renewed(tiles, find_places(tiles, random), own.memories)).encode(),
        design_digest=design.digest(),
        record=PatchRecord.of(bitstream, own, places, board, use_dsp).encode(),
    )
