from __future__ import annotations

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from bitkiln.hdl.stream_design import StreamDesign
from bitkiln.hdl.trace import Beats
from bitkiln.ir import ToolError

from .stream_dummies import AddingFifo, Gatherer, Inverter


class Button(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"pressed": In(1)})

    def elaborate(self, platform: object) -> Elaboratable:
        return Module()


def test_widths_come_from_the_ports() -> None:
    design = StreamDesign.of(Gatherer(13, 3))
    assert (design.input_bits, design.input_bytes) == (13, 2)
    assert (design.output_bits, design.output_bytes) == (39, 5)
    assert design.has_clock
    assert design.has_reset


def test_logic_without_registers_has_no_clock() -> None:
    design = StreamDesign.of(Inverter())
    assert (design.input_bits, design.output_bits) == (1, 1)
    assert not design.has_clock
    assert not design.has_reset


def test_rtlil_gives_the_same_design_as_its_component() -> None:
    text = rtlil.convert(AddingFifo(2), name="top", emit_src=False)
    assert StreamDesign.of(text) == StreamDesign.of(AddingFifo(2))


def test_width_is_one_where_yosys_leaves_it_out() -> None:
    text = rtlil.convert(Inverter(), name="top", emit_src=False)
    assert StreamDesign.of(text.replace("wire width 1 ", "wire ")).input_bits == 1


def test_other_ports_are_an_error() -> None:
    with pytest.raises(ToolError) as caught:
        StreamDesign.of(Button())
    assert str(caught.value) == (
        "error[wrong-ports]: the module `top` must have the streams i and o, clk and rst, and nothing else, "
        "not input pressed\n"
        "  help: give a component with i: In(Signature), o: Out(Signature)"
    )


@pytest.mark.parametrize(
    ("beats", "message"),
    [
        (
            np.zeros((4, 3), np.uint8),
            "error[wrong-beats]: beats must be uint8 of shape (n, 2), not uint8 of shape (4, 3)",
        ),
        (
            np.zeros((4, 2), np.int64),
            "error[wrong-beats]: beats must be uint8 of shape (n, 2), not int64 of shape (4, 2)",
        ),
        (
            np.array([[255, 31], [0, 32]], np.uint8),
            "error[wrong-beats]: beat 1 has more than 13 bits",
        ),
    ],
)
def test_wrong_beats(beats: Beats, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        StreamDesign.of(Gatherer(13, 3)).checked(beats)
    assert str(caught.value) == message
