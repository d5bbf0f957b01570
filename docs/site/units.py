"""The hardware units as the page shows them: the boxes of each, and the timing as formulas over the unit's own names.

The formulas are Python over the attributes of `bitkiln.ir.units`; tests/test_docs.py computes them for units of random
networks and compares with what these declare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitkiln.ir.units import UNITS, Unit

from .diagrams import Box, diagram
from .markdown import prose, table


@dataclass(frozen=True)
class Sequencer:
    """`steps` of one image, what a step waits for beside a place in its output queue, and the boxes it drives.

    The cycles of the boxes add up to `latency`, from a step to the output queue; empty if it gives no output.
    """

    name: str
    steps: str
    waits: str
    boxes: tuple[Box, ...]
    latency: str = ""


@dataclass(frozen=True)
class UnitPage:
    """One unit: its kind and its sequencers. What stands between two sequencers is a box of the first one."""

    kind: str
    sequencers: tuple[Sequencer, ...]
    example: str = ""


def rescale_boxes(cycles: str) -> tuple[Box, ...]:
    """The three stages of a requantisation, which some units have only at times."""
    return (Box("times multiplier, + half; shift; clamp", cycles),)


A_BEAT = "the next input beat"
BOTH = "the next beat of both inputs"

PAGES = (
    UnitPage(
        "matrix_vector",
        (
            Sequencer(
                "",
                "vectors * groups * row_folds * column_folds",
                "an input beat in the first of the row folds of a vector; in the others the beat is replayed",
                (
                    Box("step: row fold, column fold", is_step=True),
                    Box("input beat and weights", "1", "replay buffer; weights"),
                    Box("operand registers", "1"),
                    Box("PE x SIMD products", "1"),
                    Box("adder tree, or count of ones", "tree_stages"),
                    Box("packed products apart", "packing_stages"),
                    Box("PE accumulators", "1", "where each row starts"),
                    Box("requantise, or compare", "ending_stages", "shifts, thresholds"),
                ),
                "latency",
            ),
        ),
        "`row_folds` is `rows / pe`, `column_folds` is `columns / simd`. `tree_stages` is ⌈log2 n⌉, of a count of "
        "ones ⌈log2 ⌈n / 3⌉⌉, where n is `simd`, or of constants the most of a row that are not 0; "
        "`packing_stages` is 0 without a shared operand, else 1, or 2 where products overlap; "
        "`ending_stages` is 2 with requantisation or several thresholds, else 0. With `lanewise` (depthwise "
        "convolutions) a beat brings PE channels, each PE takes its own, and SIMD is 1.",
    ),
    UnitPage(
        "sparse_matrix_vector",
        (
            Sequencer(
                "scanner",
                "dense.vectors * (dense.columns + 1)",
                "the next input beat, and a free place in the queue of every element; at the beginning of a vector, "
                "that the mark of the one before has left all queues",
                (
                    Box("scanner: an input, or the mark", is_step=True),
                    Box("a queue at each element", memory="entries a column"),
                ),
            ),
            Sequencer(
                "element p",
                "dense.vectors * walk_steps[:, p].sum()",
                "the input at the head of its queue, `queue_latency` cycles after the scanner's step; for a vector's "
                "first one, that all accumulators are loaded",
                (
                    Box("element: an entry, or none", is_step=True),
                    Box("row and weight of the entry; product", memory="gaps and codes"),
                    Box("accumulators", memory="row_folds words"),
                ),
            ),
            Sequencer(
                "rows",
                "2 * dense.vectors * dense.row_folds",
                "for loading, nothing; for the first row that is given, 3 cycles from the mark at every element",
                (
                    Box("rows: load all, then give all", is_step=True),
                    Box("read of the accumulators", "1", "where each row starts"),
                    Box("held", "1"),
                    Box("requantise, or compare", "dense.ending_stages", "shifts, thresholds"),
                ),
                "latency",
            ),
        ),
        "There are `pe` elements. `walk_steps` of a column is how many entries the element has there, at least 1; "
        "its last row is the mark. With `skip_zeros` inputs of 0 are not sent, and an image has its own steps; these "
        "are the most. `queue_latency` is 3 with more than four places in an element's queue, else 2.",
    ),
    UnitPage(
        "window",
        (
            Sequencer(
                "writer",
                "height * row_beats",
                "the next input beat, and that the reader has finished, 2 cycles before, the output row that last "
                "needed what is overwritten",
                (Box("writer: a beat", is_step=True), Box("ring of buffer_rows rows", memory="block RAM")),
            ),
            Sequencer(
                "reader",
                "output_size[0] * output_size[1] * window_steps",
                "at the beginning of a position, that its last beat was written the cycle before",
                (
                    Box("reader: position, group, kernel", is_step=True),
                    Box("address, and whether outside", "1"),
                    Box("beat of the ring, or pad_code", "1"),
                ),
                "LATENCY",
            ),
        ),
        "`row_beats` is `width * channels / lanes`, `window_steps` is `kernel[0] * kernel[1] * channels / lanes`, "
        "`buffer_rows` is the rows that a window spans and one stride.",
    ),
    UnitPage(
        "pool",
        (
            Sequencer(
                "",
                "window * results",
                A_BEAT,
                (
                    Box("step: a beat", is_step=True),
                    Box("beat register", "1"),
                    Box("largest so far, or sum", "1"),
                    *rescale_boxes("3 if rescale else 0"),
                ),
                "latency",
            ),
        ),
    ),
    UnitPage(
        "add",
        (
            Sequencer(
                "",
                "beats",
                BOTH,
                (
                    Box("step: a beat of each", is_step=True),
                    Box("shift left, add", "1"),
                    *rescale_boxes("3 if rescale else 0"),
                ),
                "latency",
            ),
        ),
    ),
    UnitPage(
        "requantise",
        (
            Sequencer(
                "",
                "beats",
                A_BEAT,
                (Box("step: a beat", is_step=True), Box("beat register", "1"), *rescale_boxes("3")),
                "latency",
            ),
        ),
    ),
    UnitPage(
        "threshold",
        (
            Sequencer(
                "",
                "beats",
                A_BEAT,
                (
                    Box("step: a beat", is_step=True),
                    Box("beat register", "1", "thresholds, bases, steps"),
                    Box("distance from the first", "1"),
                    Box("compare with the others, count", "thresholds.latency"),
                ),
                "latency",
            ),
        ),
        "`thresholds.latency` is 0 for one threshold a row, whose comparison is a sign, else 2.",
    ),
    UnitPage(
        "lookup",
        (
            Sequencer(
                "",
                "beats",
                A_BEAT,
                (
                    Box("step: a beat", is_step=True),
                    Box("read, for each lane", "1", "table"),
                    Box("result register", "1"),
                ),
                "LATENCY",
            ),
        ),
    ),
    UnitPage(
        "multiply",
        (
            Sequencer(
                "",
                "beats",
                BOTH,
                (
                    Box("step: a beat of each", is_step=True),
                    Box("operand registers", "1"),
                    Box("products", "1"),
                    *rescale_boxes("3"),
                ),
                "LATENCY",
            ),
        ),
    ),
    UnitPage(
        "gather",
        (
            Sequencer(
                "writer",
                "blocks * block_beats",
                "the next input beat; at the beginning of a block, 3 cycles from the last read of the block that was "
                "there",
                (Box("writer: a beat", is_step=True), Box("two blocks", memory="block RAM")),
            ),
            Sequencer(
                "reader",
                "blocks * len(source)",
                "at the beginning of a block, that it was wholly written the cycle before",
                (
                    Box("reader: a place", is_step=True),
                    Box("which beat, or zeros", "1", "table `source`"),
                    Box("address", "1"),
                    Box("beat of the block", "1"),
                ),
                "LATENCY",
            ),
        ),
    ),
    UnitPage(
        "concat",
        (
            Sequencer(
                "",
                "rounds * sum(parts)",
                "the next beat of the input whose turn it is",
                (Box("step: parts[p] beats of input p", is_step=True), Box("multiplexer", "0")),
                "0",
            ),
        ),
    ),
    UnitPage(
        "top_k",
        (
            Sequencer(
                "",
                "count + k - 1",
                "the next element, in the first `count` steps; the others give what is left of the indices",
                (Box("step: an element, or an index", is_step=True), Box("k largest so far, their places", "1")),
                "1",
            ),
        ),
    ),
    UnitPage(
        "resize",
        (
            Sequencer(
                "",
                "elements // min(lanes_in, lanes_out)",
                "the next input beat; a wide one is taken with its last part",
                (Box("step: a narrow beat", is_step=True), Box("parts, chosen or collected", "0")),
                "0",
            ),
        ),
    ),
    UnitPage(
        "fork",
        (
            Sequencer(
                "",
                "beats",
                "the next input beat, and a place in all output queues",
                (Box("step: a beat", is_step=True), Box("copies", "0")),
                "0",
            ),
        ),
    ),
)


def page() -> str:
    """Return a section for each unit."""
    kinds = {unit.kind: unit for unit in UNITS}
    return "\n\n".join(part for item in PAGES for part in _section(item, kinds[item.kind]))


def _section(item: UnitPage, kind: type[Unit]) -> Iterator[str]:
    yield f"## `{item.kind}`"
    yield prose(kind)
    yield diagram(item.kind, [box for sequencer in item.sequencers for box in sequencer.boxes])
    rows = [(part.name, f"`{part.steps}`", part.waits, f"`{_cycles(part)}`") for part in item.sequencers]
    yield table(("sequencer", "steps of an image", "a step waits for", "cycles to the output queue"), rows)
    if item.example:
        yield item.example


def _cycles(part: Sequencer) -> str:
    """The sum of the boxes' cycles: numbers added up, then what depends on the unit."""
    terms = [box.cycles for box in part.boxes if box.cycles]
    fixed = sum(int(term) for term in terms if term.isdigit())
    rest = [f"({term})" if " " in term else term for term in terms if not term.isdigit()]
    return " + ".join([str(fixed), *rest]) if part.latency else "-"
