"""What each unit of the dataflow template does for one image, as its declaration says.

Counted are the data path's arithmetic, its memories and its accumulators. Not counted are pipeline registers (they are
part of the operation), control (addresses, counters, handshakes), shifts and multiplexers. A memory is counted once a
step: what its port repeats while the unit waits is the same word again. A table in LUTs is a memory like any other.
"""

from __future__ import annotations

from bitkiln.ir.units import (
    AddStreams,
    ConcatStreams,
    Fork,
    Gather,
    LookupStream,
    MatrixVector,
    MultiplyStreams,
    Pool,
    Reduction,
    Rescale,
    RescaleStream,
    Resize,
    SparseMatrixVector,
    Thresholds,
    ThresholdStream,
    TopKStream,
    Unit,
    Window,
)

from .counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role


def unit_counts(unit: Unit) -> Counts:
    """Return the counts of one image; the queues at the unit's ports are streams and counted there."""
    match unit:
        case MatrixVector():
            return _matrix_vector(unit)
        case SparseMatrixVector():
            return _sparse(unit)
        case Pool():
            return _pool(unit)
        case AddStreams():
            return _add_streams(unit)
        case MultiplyStreams():
            return _multiply_streams(unit)
        case RescaleStream():
            return Counts(_rescale(unit.rescale, unit.input_bits, unit.beats * unit.lanes))
        case ThresholdStream():
            return _threshold(unit)
        case LookupStream():
            return _lookup(unit)
        case TopKStream():
            return _top_k(unit)
        case _:
            return _moving_counts(unit)


def _moving_counts(unit: Unit) -> Counts:
    """The units that compute nothing."""
    match unit:
        case Window():
            return _window(unit)
        case Gather():
            return _gather(unit)
        case Resize():
            return _resize(unit)
        case Fork() | ConcatStreams():
            return Counts()
        case _:
            raise AssertionError(f"no counts for {unit.kind}")


def _matrix_vector(unit: MatrixVector) -> Counts:
    row_steps = unit.steps * unit.pe
    rows = unit.vectors * unit.groups * unit.rows
    width = unit.accumulator_bits
    arithmetic = [
        Arithmetic(Operation.MULTIPLY, Purpose.PRODUCT, (unit.input_bits, unit.weight_bits), row_steps * unit.simd),
        *_tree(unit, row_steps),
        Arithmetic(Operation.ADD, Purpose.ACCUMULATE, (width, width), row_steps),
    ]
    if unit.shift:
        # The rounding constant is part of the bias: what is left is a shift and the two limits.
        scaled = max(1, width - min(unit.shift))
        arithmetic.append(Arithmetic(Operation.COMPARE, Purpose.RESCALE, (scaled, scaled), 2 * rows))
    if unit.thresholds:
        arithmetic.append(_compare(unit.thresholds, width, rows))
    accumulators = Memory("accumulators", Level.REGISTER, Role.ACCUMULATOR, unit.pe * width, width)
    return Counts(
        tuple(arithmetic),
        (*_constants(unit), *_replay(unit), Access(accumulators, reads=row_steps, writes=row_steps)),
    )


def _sparse(unit: SparseMatrixVector) -> Counts:
    """Each entry, fillers included, is read, decoded, multiplied and added to its accumulator in memory."""
    dense, entries = unit.dense, unit.entries
    width, rows = dense.accumulator_bits, dense.vectors * dense.rows
    worked = dense.vectors * int(entries.counts.sum())
    columns = dense.vectors * dense.columns
    arithmetic = [
        Arithmetic(Operation.MULTIPLY, Purpose.PRODUCT, (dense.input_bits, dense.weight_bits), worked),
        Arithmetic(Operation.ADD, Purpose.ADDRESS, (unit.gap_bits, unit.gap_bits), worked),
        Arithmetic(Operation.ADD, Purpose.ACCUMULATE, (width, width), worked),
    ]
    if dense.shift:
        scaled = max(1, width - min(dense.shift))
        arithmetic.append(Arithmetic(Operation.COMPARE, Purpose.RESCALE, (scaled, scaled), 2 * rows))
    if dense.thresholds:
        arithmetic.append(_compare(dense.thresholds, width, rows))
    count_bits = int(entries.counts.max()).bit_length()
    weights = Memory("entries", Level.SRAM, Role.WEIGHTS, int(entries.counts.sum()) * unit.entry_bits, unit.entry_bits)
    counts = Memory("column counts", Level.SRAM, Role.POINTERS, entries.counts.size * count_bits, dense.pe * count_bits)
    item = dense.input_bits + count_bits + 1
    waiting = Memory("element queues", Level.SRAM, Role.QUEUE, dense.pe * unit.queue_places * item, dense.pe * item)
    sums = Memory("accumulators", Level.SRAM, Role.ACCUMULATOR, dense.rows * width, width)
    accesses = (
        Access(weights, reads=worked, writes=0),
        Access(counts, reads=columns, writes=0),
        Access(waiting, reads=columns, writes=columns),
        Access(sums, reads=worked + rows, writes=worked + rows),
    )
    return Counts(tuple(arithmetic), accesses)


def _compare(thresholds: Thresholds, bits: int, elements: int) -> Arithmetic:
    """Each element is compared with each of its row's thresholds."""
    return Arithmetic(Operation.COMPARE, Purpose.RESCALE, (bits, bits), elements * thresholds.count)


def _row_constants(rows: int, lanes: int, bits: int, elements: int) -> tuple[Access, ...]:
    """Reads of one word of `lanes` constants for every so many elements; a single word is wired."""
    if rows == lanes:
        return ()
    memory = Memory("row constants", Level.SRAM, Role.ROW_CONSTANTS, rows * bits, lanes * bits)
    return (Access(memory, reads=elements // lanes, writes=0),)


def _tree(unit: MatrixVector, row_steps: int) -> list[Arithmetic]:
    """Adders of the tree over the SIMD products, a level at a time; an adder is as wide as its wider operand."""
    widths = [unit.input_bits + unit.weight_bits] * unit.simd
    adders = []
    while len(widths) > 1:
        pairs = list(zip(widths[::2], widths[1::2], strict=False))
        adders += [Arithmetic(Operation.ADD, Purpose.TREE, pair, row_steps) for pair in pairs]
        widths = [max(pair) + 1 for pair in pairs] + widths[2 * len(pairs) :]
    return adders


def _constants(unit: MatrixVector) -> list[Access]:
    """Reads of weights and row constants. A single word is wired to the arithmetic and read from no memory, unless
    another may take its place.
    """
    accesses, least = [], 1 if unit.renewable or unit.storage.is_loaded else 2
    rounds = unit.groups * unit.row_folds
    words = rounds * unit.column_folds
    if words >= least:
        width = unit.pe * unit.simd * unit.stored_bits
        memory = Memory("weights", Level.SRAM, Role.WEIGHTS, unit.banks * words * width, width)
        accesses.append(Access(memory, reads=unit.steps, writes=0))
    if rounds >= least:
        selector_bits = (len(set(unit.shift)) - 1).bit_length() if unit.shift else 0
        selector_bits += unit.accumulator_bits * (unit.thresholds.count - 1) if unit.thresholds else 0
        width = unit.pe * (unit.accumulator_bits + selector_bits)
        memory = Memory("row constants", Level.SRAM, Role.ROW_CONSTANTS, unit.banks * rounds * width, width)
        accesses.append(Access(memory, reads=unit.vectors * rounds, writes=0))
    return accesses


def _replay(unit: MatrixVector) -> list[Access]:
    """The first row fold of a vector writes its beats, the others read them."""
    if unit.row_folds == 1 or unit.column_folds == 1:
        return []
    width = unit.simd * unit.input_bits
    beats = unit.vectors * unit.groups * unit.column_folds
    memory = Memory("replay buffer", Level.SRAM, Role.REPLAY_BUFFER, unit.column_folds * width, width)
    return [Access(memory, reads=beats * (unit.row_folds - 1), writes=beats)]


def _window(unit: Window) -> Counts:
    """Each beat is written once and each step of the reader fetches a word, also where padding then replaces it."""
    beat = unit.inputs[0]
    memory = Memory(
        "line buffer", Level.SRAM, Role.LINE_BUFFER, unit.buffer_rows * unit.row_beats * beat.width, beat.width
    )
    reads = unit.output_size[0] * unit.output_size[1] * unit.window_steps
    return Counts((), (Access(memory, reads=reads, writes=unit.height * unit.row_beats),))


def _pool(unit: Pool) -> Counts:
    """The first element of a window is loaded, each other one is compared or added."""
    is_sum = unit.reduction is Reduction.SUM
    width = unit.input_bits + (unit.window.bit_length() if is_sum else 0)
    results = unit.results * unit.lanes
    operation = Operation.ADD if is_sum else Operation.COMPARE
    reduction = Arithmetic(operation, Purpose.REDUCE, (width, unit.input_bits), results * (unit.window - 1))
    register = Memory("results", Level.REGISTER, Role.ACCUMULATOR, unit.lanes * width, width)
    elements = results * unit.window
    rescale = _rescale(unit.rescale, width, results) if unit.rescale else ()
    return Counts((reduction, *rescale), (Access(register, reads=elements, writes=elements),))


def _add_streams(unit: AddStreams) -> Counts:
    elements = unit.beats * unit.lanes
    bits = (unit.a.bits + unit.shifts[0], unit.b.bits + unit.shifts[1])
    rescale = _rescale(unit.rescale, max(bits) + 1, elements) if unit.rescale else ()
    return Counts((Arithmetic(Operation.ADD, Purpose.JOIN, bits, elements), *rescale))


def _multiply_streams(unit: MultiplyStreams) -> Counts:
    elements = unit.beats * unit.a.lanes
    product = Arithmetic(Operation.MULTIPLY, Purpose.JOIN, (unit.a.bits, unit.b.bits), elements)
    return Counts((product, *_rescale(unit.rescale, unit.a.bits + unit.b.bits, elements)))


def _threshold(unit: ThresholdStream) -> Counts:
    elements, rows = unit.beats * unit.input.lanes, len(unit.thresholds.values)
    bits = unit.input.bits * unit.thresholds.count
    compare = _compare(unit.thresholds, unit.input.bits, elements)
    return Counts((compare,), _row_constants(rows, unit.input.lanes, bits, elements))


def _lookup(unit: LookupStream) -> Counts:
    """One table, read once an element."""
    bits = unit.output.bits
    memory = Memory("table", Level.SRAM, Role.CODEBOOK, len(unit.table) * bits, bits)
    return Counts((), (Access(memory, reads=unit.beats * unit.input.lanes, writes=0),))


def _gather(unit: Gather) -> Counts:
    """Each beat is written once; each step reads the place to read from, and the beat there."""
    size, width = unit.block_beats, unit.beat.width
    reads = unit.blocks * len(unit.source)
    beats = Memory("blocks", Level.SRAM, Role.LINE_BUFFER, unit.PLACES * size * width, width)
    places = Memory("places", Level.SRAM, Role.ROW_CONSTANTS, len(unit.source) * size.bit_length(), size.bit_length())
    moved = (Access(beats, reads=reads, writes=unit.blocks * size),)
    return Counts((), (*moved, Access(places, reads=reads, writes=0)) if len(unit.source) > 1 else moved)


def _top_k(unit: TopKStream) -> Counts:
    """Which steps find a larger element depends on the data: the registers are counted as if every step found the
    largest so far, and moved the others by one place. Then the indices move to the first place one after the other."""
    compared = sum(min(step, unit.k) for step in range(unit.count))
    moved = sum(min(step, unit.k - 1) for step in range(unit.count))
    leaving = unit.k * (unit.k - 1) // 2
    compare = Arithmetic(Operation.COMPARE, Purpose.REDUCE, (unit.input_bits, unit.input_bits), compared)
    best = Memory("best", Level.REGISTER, Role.ACCUMULATOR, unit.k * unit.input_bits, unit.input_bits)
    index = Memory("index", Level.REGISTER, Role.ACCUMULATOR, unit.k * unit.bits, unit.bits)
    places = Access(index, reads=moved + leaving + unit.k, writes=unit.count + moved + leaving)
    return Counts((compare,), (Access(best, compared, unit.count + moved), places))


def _resize(unit: Resize) -> Counts:
    """To wider beats, all parts but the last are held; to narrower ones, the wide beat stays in its queue."""
    if unit.lanes_in >= unit.lanes_out:
        return Counts()
    width = unit.lanes_in * unit.bits
    held = unit.elements // unit.lanes_out * (unit.ratio - 1)
    memory = Memory("held beats", Level.REGISTER, Role.HELD_BEAT, (unit.ratio - 1) * width, width)
    return Counts((), (Access(memory, reads=held, writes=held),))


def _rescale(rescale: Rescale, bits: int, elements: int) -> tuple[Arithmetic, ...]:
    """Multiply (unless by one), add the rounding constant (if there is one), compare with both limits."""
    arithmetic = []
    factor_bits = rescale.multiplier.bit_length()
    if rescale.multiplier != 1:
        arithmetic.append(Arithmetic(Operation.MULTIPLY, Purpose.RESCALE, (bits, factor_bits), elements))
        bits += factor_bits
    if rescale.half:
        arithmetic.append(Arithmetic(Operation.ADD, Purpose.RESCALE, (bits, rescale.half.bit_length()), elements))
        bits += 1
    scaled = max(1, bits - rescale.shift)
    arithmetic.append(Arithmetic(Operation.COMPARE, Purpose.RESCALE, (scaled, scaled), 2 * elements))
    return tuple(arithmetic)
