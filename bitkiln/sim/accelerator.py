"""Descriptions of accelerators: an engine, its number formats, on-chip memories, DRAM and clock, read from TOML.

Exactly one engine's table stands in a file; its name says what the engine is. Sizes are of the hardware, never of a
network; what a network makes of them is the engine's model.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from enum import Enum
from importlib import resources
from pathlib import Path

from bitkiln.ir import fail, from_plain, known_names
from bitkiln.ir.coding import Format

ACCELERATORS = ("dataflow", "eie", "eyeriss-like", "systolic-32", "tpu-like", "xnor-array", "zero-skip")
"""Names of the descriptions in the package."""


class Dataflow(Enum):
    """Which operand of a systolic array stays in the processing elements."""

    WEIGHT_STATIONARY = "ws"
    OUTPUT_STATIONARY = "os"
    INPUT_STATIONARY = "is"


class ArithmeticKind(Enum):
    """What the multipliers compute with."""

    INTEGER = "integer"
    FLOAT = "float"


class Operand(Enum):
    """What a memory can hold."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    OUTPUTS = "outputs"


class DramKind(Enum):
    """Whose energy an access has: that of the technology's table, or of a kind of DRAM in `tables/dram.toml`."""

    TECHNOLOGY = "technology"
    LPDDR4 = "lpddr4"
    LPDDR = "lpddr"
    DDR3 = "ddr3"


def _require(what: str, value: float, least: float = 1) -> None:
    if not (math.isfinite(value) and value >= least):
        raise fail("bad-value", f"{what} must be at least {least:g}, not {value:g}")


def _positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise fail("bad-value", f"{what} must be above 0, not {value:g}")


@dataclass(frozen=True)
class Systolic:
    """An array of multiply-accumulate cells that pass operands on: SCALE-Sim's and the TPU's."""

    rows: int
    columns: int
    dataflow: Dataflow = Dataflow.WEIGHT_STATIONARY

    def __post_init__(self) -> None:
        _require("rows", self.rows)
        _require("columns", self.columns)


@dataclass(frozen=True)
class Vector:
    """Dot-product units: each of `output_lanes` filters multiplies `input_lanes` channels a cycle and adds them up."""

    input_lanes: int
    output_lanes: int

    def __post_init__(self) -> None:
        _require("input_lanes", self.input_lanes)
        _require("output_lanes", self.output_lanes)


@dataclass(frozen=True)
class RowStationary:
    """Eyeriss: each cell does one-dimensional convolutions of a filter row and an input row, kept in scratch pads.

    Scratch pads are in words of the operand they hold; `shared_words` is one pad for all three, if not 0. With
    `has_gating`, a zero input neither reads the filter pad nor multiplies. Inputs and outputs lie in DRAM in
    `feature_map_format` where that makes them smaller.
    """

    rows: int
    columns: int
    weight_words: int = 0
    activation_words: int = 0
    partial_sum_words: int = 0
    shared_words: int = 0
    has_gating: bool = False
    feature_map_format: Format = Format.DENSE

    def __post_init__(self) -> None:
        _require("rows", self.rows)
        _require("columns", self.columns)
        if self.feature_map_format is Format.COMPRESSED_COLUMNS:
            raise fail("bad-value", "feature_map_format must be dense, bitmap or run-length, not compressed columns")
        if self.shared_words:
            _require("shared_words", self.shared_words, 3)
        else:
            for name in ("weight_words", "activation_words", "partial_sum_words"):
                _require(name, getattr(self, name))


@dataclass(frozen=True)
class Eie:
    """Compressed sparse matrix times sparse vector: rows interleaved over elements, non-zero inputs broadcast.

    A queue of `queue_places` activations in each element holds one less; weights are `code_bits` indices of a table of
    `weight_bits` values, `index_bits` count the zeros before each. Each element keeps two pointers a column, of
    `pointer_bits`, in a memory of `pointer_bytes`. The srams have one bank an element.
    """

    elements: int
    queue_places: int
    index_bits: int
    code_bits: int
    pointer_bits: int
    pointer_bytes: int

    def __post_init__(self) -> None:
        _require("elements", self.elements)
        _require("queue_places", self.queue_places, 2)
        for name in ("index_bits", "code_bits", "pointer_bits", "pointer_bytes"):
            _require(name, getattr(self, name))


class Zeros(Enum):
    """What is done with products that have a zero for one operand: compute them, save their energy, or their cycle."""

    COMPUTE = "compute"
    GATE = "gate"
    SKIP = "skip"


@dataclass(frozen=True)
class ZeroSkip:
    """A convolution engine with one multiplier in each of `filter_lanes` x `position_lanes` elements.

    Filters and output pixels are dealt out over the lanes; an element keeps `accumulators` sums. What zeros save is
    said for each operand on its own, and so is how it is stored.
    """

    filter_lanes: int
    position_lanes: int
    accumulators: int
    weight_zeros: Zeros = Zeros.SKIP
    activation_zeros: Zeros = Zeros.SKIP
    weight_format: Format = Format.COMPRESSED_COLUMNS
    activation_format: Format = Format.COMPRESSED_COLUMNS

    def __post_init__(self) -> None:
        for name in ("filter_lanes", "position_lanes", "accumulators"):
            _require(name, getattr(self, name))


@dataclass(frozen=True)
class Xnor:
    """Binary dot products: `lanes` filters, each with words of `word_bits` XNOR gates and a tree that counts ones.

    A lane keeps `accumulators` sums: a word of weights stays in it while that many pixels pass.
    """

    word_bits: int
    lanes: int
    accumulators: int

    def __post_init__(self) -> None:
        _require("word_bits", self.word_bits)
        _require("lanes", self.lanes)
        _require("accumulators", self.accumulators)


@dataclass(frozen=True)
class Streaming:
    """The generated hardware: one unit a node, with at most `max_multipliers` multipliers in all."""

    max_multipliers: int

    def __post_init__(self) -> None:
        _require("max_multipliers", self.max_multipliers)


Engine = Systolic | Vector | RowStationary | Eie | ZeroSkip | Xnor | Streaming


@dataclass(frozen=True)
class Numbers:
    """Widths of the data path. Layers with narrower operands keep them narrow in memory, not in the multipliers."""

    arithmetic: ArithmeticKind
    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    output_bits: int

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits", "accumulator_bits", "output_bits"):
            _require(name, getattr(self, name))
        if self.accumulator_bits < max(self.weight_bits, self.activation_bits):
            raise fail("bad-value", f"accumulator_bits must hold an operand, but is {self.accumulator_bits}")


@dataclass(frozen=True)
class Sram:
    """One on-chip memory for the operands it holds; without double buffering, filling it stops the engine.

    A port moves one word of `word_bits` a cycle. The memory is made of `banks` equal parts: an access has the energy
    of one bank.
    """

    holds: tuple[Operand, ...]
    capacity_bytes: int
    word_bits: int
    ports: int = 1
    is_double_buffered: bool = True
    banks: int = 1

    def __post_init__(self) -> None:
        _require("capacity_bytes", self.capacity_bytes)
        _require("word_bits", self.word_bits)
        _require("ports", self.ports)
        _require("banks", self.banks)
        if not self.holds:
            raise fail("bad-value", "an sram must hold something, but holds is an empty list")
        if self.bank_bits < self.word_bits:
            size = f"{self.capacity_bytes} bytes" + (f" in {self.banks} banks" if self.banks > 1 else "")
            raise fail("bad-value", f"an sram of {size} has no word of {self.word_bits} bits")

    @property
    def capacity_bits(self) -> int:
        return 8 * self.capacity_bytes

    @property
    def bank_bits(self) -> int:
        return self.capacity_bits // self.banks

    @property
    def usable_bits(self) -> int:
        """What one tile may fill: half of a double-buffered memory, whose other half is being filled meanwhile."""
        return self.capacity_bits // 2 if self.is_double_buffered else self.capacity_bits

    @property
    def bits_per_cycle(self) -> int:
        return self.word_bits * self.ports


@dataclass(frozen=True)
class Dram:
    """Off-chip memory: a stretch of addresses costs its whole bursts, and `row_miss_ns` for each row it opens.

    `latency_ns` is the time to the first byte of a transfer that nothing hides.
    """

    bytes_per_second: float
    burst_bytes: int
    row_bytes: int
    row_miss_ns: float
    row_hit_ns: float
    latency_ns: float
    kind: DramKind = DramKind.TECHNOLOGY

    def __post_init__(self) -> None:
        _positive("bytes_per_second", self.bytes_per_second)
        _require("burst_bytes", self.burst_bytes)
        _require("row_bytes", self.row_bytes)
        for name in ("row_miss_ns", "row_hit_ns", "latency_ns"):
            _require(name, getattr(self, name), 0)
        if self.row_miss_ns < self.row_hit_ns:
            raise fail(
                "bad-value", f"row_miss_ns must be at least row_hit_ns, {self.row_hit_ns:g}, not {self.row_miss_ns:g}"
            )


@dataclass(frozen=True)
class Accelerator:
    """A description; exactly one of the engines is there.

    >>> find_accelerator("systolic-32").systolic.rows
    32
    """

    name: str
    title: str
    clock_hz: float
    technology: str
    numbers: Numbers
    dram: Dram
    sram: tuple[Sram, ...] = ()
    systolic: Systolic | None = None
    vector: Vector | None = None
    row_stationary: RowStationary | None = None
    eie: Eie | None = None
    zero_skip: ZeroSkip | None = None
    xnor: Xnor | None = None
    streaming: Streaming | None = None

    def __post_init__(self) -> None:
        _positive("clock_hz", self.clock_hz)
        found = [name for name in ENGINES if getattr(self, name) is not None]
        if len(found) != 1:
            given = f"not {' and '.join(found)}" if found else "but there is none"
            hint = f"engines: {', '.join(ENGINES)}"
            raise fail("bad-accelerator", f"an accelerator has exactly one engine's table, {given}", hint=hint)
        held = [operand for sram in self.sram for operand in sram.holds]
        for operand in Operand:
            if held.count(operand) > 1:
                raise fail(
                    "bad-accelerator", f"{operand.value} are held by {held.count(operand)} srams; one can hold them"
                )

    @property
    def engine(self) -> Engine:
        engines: list[Engine | None] = [getattr(self, name) for name in ENGINES]
        return next(engine for engine in engines if engine is not None)

    @property
    def engine_name(self) -> str:
        return next(name for name in ENGINES if getattr(self, name) is not None)

    def memory(self, operand: Operand) -> Sram | None:
        """Return the on-chip memory of an operand; None if it is streamed from and to DRAM."""
        return next((sram for sram in self.sram if operand in sram.holds), None)

    @property
    def dram_bytes_per_cycle(self) -> float:
        return self.dram.bytes_per_second / self.clock_hz

    def cycles(self, time_ns: float) -> int:
        """Return the whole cycles that a time takes."""
        return math.ceil(time_ns * self.clock_hz / 1e9 - 1e-9)

    def with_dataflow(self, dataflow: Dataflow) -> Accelerator:
        """Return the array with another stationary operand. Raises `bad-dataflow` if the engine has no choice."""
        if self.systolic is None:
            message = f"{self.name} has a {self.engine_name} engine; only a systolic array has a choice of dataflow"
            raise fail("bad-dataflow", message)
        return replace(self, systolic=replace(self.systolic, dataflow=dataflow))


ENGINES = ("systolic", "vector", "row_stationary", "eie", "zero_skip", "xnor", "streaming")
"""Names of the engines' tables, and of the fields of an Accelerator."""


def find_accelerator(name: str) -> Accelerator:
    """Return the shipped description called `name`, or the one in the file of that path if it ends in `.toml`."""
    if name.endswith(".toml"):
        return load_accelerator(Path(name))
    if name not in ACCELERATORS:
        hint = f"{known_names(name, ACCELERATORS)}; a path that ends in .toml is read as a description"
        raise fail("unknown-accelerator", f"there is no accelerator called {name!r}", hint=hint)
    text = resources.files("bitkiln.sim").joinpath("accelerators", f"{name}.toml").read_text("utf-8")
    return read_accelerator(text, f"{name}.toml")


def load_accelerator(path: Path) -> Accelerator:
    """Read a description from a file. Raises `missing-file` and what `read_accelerator` raises."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise fail("bad-toml", f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise fail("missing-file", f"cannot read the accelerator {path}: {error.strerror}") from None
    return read_accelerator(text, str(path))


def read_accelerator(text: str, where: str) -> Accelerator:
    """Read a description in TOML; `where` names it in messages.

    Raises `bad-toml`, `unknown-key`, `missing-key`, `bad-value` and `bad-accelerator`.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise fail("bad-toml", f"{where} is no TOML: {error}") from None
    return from_plain(Accelerator, plain, where)
