"""Matrix-vector unit: PE rows times SIMD columns a cycle, weights in a memory beside what multiplies them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.diagnostics import fail

from ._timing import NEVER, InputTiming, OutputTiming, Process, last_of_each
from ._unit import Beat, Unit
from .packing import Packing
from .thresholds import Thresholds


class Multiplier(Enum):
    """What the products of integers with integers are made of: a block each, several in a block, or logic."""

    DSP = "dsp"
    PACKED = "packed"
    LUT = "lut"


class Storage(Enum):
    """Where constants live.

    The bitstream fills BLOCK (block RAM) and LUT. The host fills LOADED (block RAM) and BIG, the large RAM of the iCE40
    UP5K (SPRAM) and block RAM on other chips, each time the chip has started.
    """

    BLOCK = "block"
    LUT = "lut"
    BIG = "big"
    LOADED = "loaded"

    @property
    def is_loaded(self) -> bool:
        """True if the host writes what the memory holds."""
        return self in (Storage.BIG, Storage.LOADED)


class WeightCode(Enum):
    """Which weights there are, and so how they are stored: in `weight_bits` bits; as 0 or 1 for -1 or 1; as two bits
    (sign and mask) for -1, 0 and 1; as sign and exponent of 0 and powers of two (INQ, Zhou et al. 2017); or as an index
    of the few codes that occur.
    """

    INTEGER = "integer"
    CODEBOOK = "codebook"
    POWER = "power"
    BIPOLAR = "bipolar"
    TERNARY = "ternary"


class Products(Enum):
    """How a step's products are made, by what input and weights are.

    MULTIPLY: integers with integers. COUNT: bipolar with bipolar or ternary; XNOR, mask and count the ones. SIGN:
    integers with bipolar or ternary; invert or clear the input. SHIFT: integers with powers of two. SELECT: bipolar
    with integers; clear the weight.
    """

    MULTIPLY = "multiply"
    COUNT = "count"
    SIGN = "sign"
    SHIFT = "shift"
    SELECT = "select"


def count_stages(bits: int) -> int:
    """Register ranks of a count of ones: of three bits each, and of the tree that adds these counts."""
    return 1 + (-(-bits // 3) - 1).bit_length()


@dataclass(frozen=True, eq=False)
class MatrixVector(Unit):
    """`vectors` times an image: `groups` independent products of a [rows, columns] matrix with a vector.

    weights: codes [groups * rows, columns], columns in the order of the input stream. bias: [groups * rows], at the
    accumulator's point, the rounding constant of each row's shift already added. shift: one a row, or empty for no
    requantisation. `lo`, `hi` are the output's codes, `bits`/`signed` its format. `thresholds`, one row for each of
    the bias, take the place of shift, `lo` and `hi`. With neither the output is the accumulator.

    Order of the steps: vector, group, row fold (rows / pe), column fold (columns / simd). The input beats of a vector
    arrive in the first row fold and are replayed from a buffer in the others. The first product of a row meets the
    bias.

    With `lanewise` each row has a vector of its own (a depthwise convolution's channel): beats bring one element of
    every row's, and the PE rows of a group take a lane each.

    With `renewable` weights and row constants are memories, however small, and no width but `accumulator_bits` depends
    on their values: others may take their place. `banks` is how many sets a memory that the host fills has room for.
    """

    kind: ClassVar[str] = "matrix_vector"
    vectors: int
    groups: int
    rows: int
    columns: int
    pe: int
    simd: int
    input_bits: int
    input_signed: bool
    weight_bits: int
    accumulator_bits: int
    bits: int
    signed: bool
    lo: int
    hi: int
    weights: NDArray[np.int64] = field(repr=False)
    bias: NDArray[np.int64] = field(repr=False)
    shift: tuple[int, ...] = ()
    multiplier: Multiplier = Multiplier.DSP
    storage: Storage = Storage.BLOCK
    weight_code: WeightCode = WeightCode.INTEGER
    input_bipolar: bool = False
    output_bipolar: bool = False
    thresholds: Thresholds | None = None
    renewable: bool = False
    banks: int = 1
    packing: Packing | None = None
    lanewise: bool = False

    def __post_init__(self) -> None:
        assert not (self.renewable and self.weight_code is WeightCode.CODEBOOK), "a table is logic"
        assert self.banks == 1 or (self.banks == 2 and self.storage.is_loaded), "the host fills the second bank"
        assert not (self.shift and self.thresholds), "one ending"
        assert (self.multiplier is Multiplier.PACKED) == (self.packing is not None), "packed products say how"
        assert not self.lanewise or (self.pe, self.simd) == (self.rows, 1), "a lane for each row"
        assert not (self.lanewise and self.packing and self.packing.is_shared), "a shared block has one input"
        assert not (self.input_bipolar and self.weight_code is WeightCode.POWER), "signs select integers"
        for name, size, fold in (("pe", self.rows, self.pe), ("simd", self.columns, self.simd)):
            if fold < 1 or size % fold:
                legal = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
                raise fail("bad-folding", f"{name} must divide {size}, not {fold}", hint=f"legal values: {legal}")

    @property
    def row_folds(self) -> int:
        return self.rows // self.pe

    @property
    def column_folds(self) -> int:
        return self.columns // self.simd

    @property
    def steps(self) -> int:
        """Cycles of one image without any stall."""
        return self.vectors * self.groups * self.row_folds * self.column_folds

    @property
    def is_unrolled(self) -> bool:
        """True if every weight has a place of its own in the logic: constants, not words of a memory."""
        is_one_word = self.groups == self.row_folds == self.column_folds == 1
        return is_one_word and not (self.renewable or self.storage.is_loaded)

    @property
    def is_shift_add(self) -> bool:
        """True if products of constants are sums of shifted inputs."""
        return self.is_unrolled and self.multiplier is Multiplier.LUT and self.products is Products.MULTIPLY

    @property
    def products(self) -> Products:
        match self.weight_code:
            case WeightCode.INTEGER | WeightCode.CODEBOOK:
                return Products.SELECT if self.input_bipolar else Products.MULTIPLY
            case WeightCode.BIPOLAR | WeightCode.TERNARY:
                return Products.COUNT if self.input_bipolar else Products.SIGN
            case WeightCode.POWER:
                return Products.SHIFT

    @cached_property
    def codebook(self) -> tuple[int, ...]:
        """The codes that occur, rising."""
        return tuple(np.unique(self.weights).tolist())

    @property
    def largest_weight(self) -> int:
        """The largest magnitude of a weight, or that of any weight which may take its place."""
        if not self.renewable:
            return int(np.abs(self.weights).max())
        return 1 if self.weight_code in (WeightCode.BIPOLAR, WeightCode.TERNARY) else 1 << (self.weight_bits - 1)

    @property
    def exponent_bits(self) -> int:
        """Bits of a stored exponent plus one, 0 being a weight of 0."""
        return max(1, self.largest_weight.bit_length().bit_length())

    @property
    def stored_bits(self) -> int:
        """Bits of a weight in its memory."""
        match self.weight_code:
            case WeightCode.CODEBOOK:
                return max(1, (len(self.codebook) - 1).bit_length())
            case WeightCode.POWER:
                return 1 + self.exponent_bits
            case WeightCode.INTEGER | WeightCode.BIPOLAR | WeightCode.TERNARY:
                return self.weight_bits

    @property
    def tree_stages(self) -> int:
        """Pipeline stages of the adder tree over the products of a step, behind the products' own."""
        return count_stages(self.summands) - 1 if self.products is Products.COUNT else (self.summands - 1).bit_length()

    @cached_property
    def summands(self) -> int:
        """The most products that a row adds up in a step: constants of 0 are none."""
        if not self.is_unrolled or self.packing:
            return self.simd
        return max(1, int(np.count_nonzero(self.weights, axis=1).max()))

    @property
    def term_stages(self) -> int:
        """Pipeline stages between the products' own and the accumulator."""
        return self.tree_stages + self.packing_stages

    @property
    def packing_stages(self) -> int:
        """Pipeline stages that take packed products apart."""
        return self.packing.stages if self.packing and self.products is Products.MULTIPLY else 0

    @property
    def ending_stages(self) -> int:
        """Pipeline stages behind the accumulator."""
        if self.thresholds:
            return self.thresholds.latency
        return 2 if self.shift else 0

    @property
    def latency(self) -> int:
        """Cycles from the step of the last product to the output queue.

        Stages: fetch, operand, product, tree (between two of packed products), accumulate, requantise or compare.
        """
        return 4 + self.term_stages + self.ending_stages

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(self.pe if self.lanewise else self.simd, self.input_bits, self.input_signed, self.input_bipolar),)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.pe, self.bits, self.signed, self.output_bipolar),)

    @property
    def multipliers(self) -> int:
        return self.pe * self.simd if self.products is Products.MULTIPLY else 0

    @property
    def dsp_blocks(self) -> int:
        if self.multiplier is Multiplier.LUT:
            return 0
        if self.packing and self.packing.is_shared:
            return -(-self.pe // self.packing.products) * self.simd if self.multipliers else 0
        return -(-self.multipliers // (self.packing.products if self.packing else 1))

    @property
    def weight_memory_bits(self) -> int:
        return self.banks * self.weights.size * self.stored_bits

    def timing(self) -> tuple[Process, ...]:
        folds, rounds = self.column_folds, self.row_folds
        steps = np.arange(self.steps, dtype=np.int64)
        vector, within = np.divmod(steps, rounds * folds)
        is_first_round = within < folds
        needs = np.where(is_first_round, vector * folds + within, NEVER)
        output = OutputTiming(last_of_each(self.steps, folds), self.latency)
        return (Process(self.steps, ((0, InputTiming(needs, steps[is_first_round])),), ((0, output),)),)
