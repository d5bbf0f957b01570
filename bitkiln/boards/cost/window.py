"""The bill of the sliding-window generator."""

from __future__ import annotations

from bitkiln.ir.units import Window

from .bill import Bill, Part
from .memories import Memory
from .products import constant_product


def window_bill(bill: Bill, unit: Window) -> None:
    """A ring of rows, a loop nest that walks it, and the counts of what is written and free."""
    ring = unit.buffer_rows * unit.row_beats
    ring_bits = (ring - 1).bit_length()
    total = unit.height * unit.row_beats
    bill.add(Part.WINDOW, 1)
    bill.memory(Memory(ring, unit.inputs[0].width, is_written=True))
    bill.counter(ring)
    for size in (
        unit.beats_per_pixel // unit.groups,
        *unit.kernel,
        unit.groups,
        *unit.output_size,
    ):
        bill.counter(size)
    _address(bill, unit, ring_bits)
    for most in (ring + total, 2 * total + ring):  # space, level
        bill.adders(1, most.bit_length())
        bill.adders(1, most.bit_length(), Part.SUM)
    bill.comparators(1, (2 * total + ring).bit_length())
    bill.add(Part.LOGIC_REGISTER, total.bit_length())
    rows, columns = unit.output_size
    bill.add(Part.ROM, 2 * rows * unit.row_beats.bit_length() + columns * unit.row_beats.bit_length())
    bill.add(Part.WIRE_REGISTER, ring_bits + 4)
    bill.add(Part.GATE, unit.outputs[0].width if _pads(unit) else 0)


def _address(bill: Bill, unit: Window, ring_bits: int) -> None:
    for axis in range(2):
        farthest = max(unit.output_size[axis] * unit.stride[axis] + unit.span[axis], 1)
        bits = 1 + max(farthest.bit_length(), unit.padding[axis].bit_length())
        if unit.output_size[axis] > 1:
            bill.adders(1, bits, Part.SUM)
            bill.add(Part.LOGIC_REGISTER, bits)
        if unit.kernel[axis] > 1:
            bill.adders(1, bits, Part.SUM)
        bill.add(Part.LOGIC_REGISTER, bits)
        if _pads(unit):
            bill.comparators(1, bits)
        if axis == 1 and unit.width > 1:
            constant_product(bill, bits, unit.beats_per_pixel)
    wraps = (unit.output_size[0] > 1) + (unit.kernel[0] > 1)
    bill.adders(2 * wraps, ring_bits + 1, Part.SUM)
    bill.comparators(wraps, ring_bits + 1)
    bill.add(Part.LOGIC_REGISTER, wraps * ring_bits)
    bill.adders(2 if unit.beats_per_pixel > 1 else 1, ring_bits, Part.SUM)


def _pads(unit: Window) -> bool:
    """True if some window reaches beyond the map."""
    starts = (unit.padding[0] > 0, unit.padding[1] > 0)
    ends = (
        (size - 1) * stride - padding + span > length
        for size, stride, padding, span, length in zip(
            unit.output_size, unit.stride, unit.padding, unit.span, (unit.height, unit.width), strict=True
        )
    )
    return any(starts) or any(ends)
