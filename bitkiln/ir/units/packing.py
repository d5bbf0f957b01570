"""Several products in one multiplier block: which widths fit, and how far the products reach into each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DspBlock(Enum):
    """What a family's multiplier block can do beside one product. MULT18: one product of 18 bits by 18 (ECP5). MAC16:
    one of 16 by 16 or two of 8 by 8 (iCE40 UltraPlus).
    """

    MULT18 = "18x18"
    MAC16 = "16x16"


MULT18_BITS = 18
MAC16_HALF_BITS = 8
MOST_PRODUCTS = 4
MOST_OVERLAP = 8


@dataclass(frozen=True)
class Packing:
    """`products` of one block.

    With a `distance` they share one operand x: the other is the sum of w[i] << i * distance, and so the block's product
    the sum of w[i] * x << i * distance. Each w[i] * x, with what the products below carry into it, is a digit of
    `distance` bits and a carry of `overlap` bits. Where it fits the digit as a signed number (`overlap` 0) the carry is
    the digit's sign; else it is the difference between the next digit's lowest `overlap` bits and those of
    w[i + 1] * x, which logic multiplies. With distance 0 the block multiplies separate operands.
    """

    products: int
    distance: int = 0
    overlap: int = 0

    @property
    def is_shared(self) -> bool:
        """True if the products of a block have one operand in common."""
        return self.distance > 0

    @property
    def stages(self) -> int:
        """Pipeline stages behind the products: carries, and digits to sums."""
        return (1 + (self.overlap > 0)) if self.is_shared else 0


Range = tuple[int, int]


def shared_packings(weights: Range, inputs: Range) -> tuple[Packing, ...]:
    """The packings of products of such codes with a shared input for MULT18, the fewest products first.

    >>> shared_packings((-128, 127), (-128, 127))
    (Packing(products=2, distance=9, overlap=7),)
    >>> shared_packings((-127, 127), (0, 255))
    (Packing(products=2, distance=10, overlap=6),)
    >>> shared_packings((-7, 7), (-7, 7))[1]
    Packing(products=3, distance=7, overlap=0)
    """
    found = []
    for products in range(2, MOST_PRODUCTS + 1):
        distance = _distance(weights, products)
        overlap = _overlap(weights, inputs, products, distance)
        if distance and overlap <= min(distance, MOST_OVERLAP) and _fits(inputs, MULT18_BITS):
            found.append(Packing(products, distance, overlap))
    return tuple(found)


def separate_packing(weight_bits: int, input_bits: int) -> Packing | None:
    """The packing of two products for MAC16, whose halves take 8 bits of either sign on each side."""
    return Packing(2) if max(weight_bits, input_bits) <= MAC16_HALF_BITS else None


def _fits(values: Range, bits: int) -> bool:
    return -(1 << (bits - 1)) <= values[0] and values[1] < 1 << (bits - 1)


def _distance(weights: Range, products: int) -> int:
    """The largest distance at which the shifted sum of the weights is a signed number of 18 bits, or 0."""
    for distance in range(MULT18_BITS - 1, 0, -1):
        factor = sum(1 << (i * distance) for i in range(products))
        if _fits((weights[0] * factor, weights[1] * factor), MULT18_BITS):
            return distance
    return 0


def _overlap(weights: Range, inputs: Range, products: int, distance: int) -> int:
    """Bits of the carries between the products."""
    corners = [weight * value for weight in weights for value in inputs]
    low, high = min(corners), max(corners)
    overlap, carry = 0, (0, 0)
    for _ in range(products - 1):
        low_sum, high_sum = low + carry[0], high + carry[1]
        carry = (low_sum >> distance, high_sum >> distance)
        if not _fits((low_sum, high_sum), distance):
            overlap = max(overlap, next(bits for bits in range(1, 64) if _fits(carry, bits)))
    return overlap
