"""Block diagrams of units as SVG in the page: boxes from the input down to the output, memories at their left.

Colours are those of the theme, so light and dark are right; the drawing is narrow enough for a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 380
BOX_X, BOX_WIDTH, BOX_HEIGHT = 122, 186, 40
GAP = 18
LINE = 15
MEMORY_WIDTH = 100
MEMORY_CHARS, BOX_CHARS, CYCLE_CHARS = 14, 24, 9


@dataclass(frozen=True)
class Box:
    """One box: `cycles` that it takes as a formula, what lies in memory beside it, whether a sequencer's step it is."""

    text: str
    cycles: str = ""
    memory: str = ""
    is_step: bool = False


def diagram(name: str, boxes: Sequence[Box]) -> str:
    """Return the figure, without an empty line, which would end it in Markdown."""
    height = 2 * LINE + len(boxes) * (BOX_HEIGHT + GAP) + GAP + LINE
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="block diagram of {escape(name)}">'
    tip = f'<marker id="tip-{name}" markerWidth="7" markerHeight="6" refX="6" refY="3" orient="auto">'
    tip += '<path d="M0,0 L7,3 L0,6 z"/></marker>'
    parts = [head, f"<defs>{tip}</defs>", *_drawn(name, boxes, height), "</svg>"]
    return "\n".join(['<figure class="unit">', *parts, "</figure>"])


def _drawn(name: str, boxes: Sequence[Box], height: int) -> Iterator[str]:
    middle = BOX_X + BOX_WIDTH // 2
    yield _text(middle, LINE, "queue in", "port")
    yield _text(WIDTH - 4, LINE, "cycles", "cycles")
    y = LINE + 6
    for box in boxes:
        yield _arrow(name, middle, y, middle, y + GAP)
        y += GAP
        kind = "step" if box.is_step else "stage"
        yield f'<rect class="{kind}" x="{BOX_X}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4"/>'
        yield from _lines(middle, y, box.text, BOX_CHARS, "")
        yield from _lines(WIDTH - 4, y, box.cycles, CYCLE_CHARS, "cycles")
        if box.memory:
            yield f'<rect class="memory" x="2" y="{y + 2}" width="{MEMORY_WIDTH}" height="{BOX_HEIGHT - 4}"/>'
            yield from _lines(2 + MEMORY_WIDTH // 2, y, box.memory.replace("`", ""), MEMORY_CHARS, "small")
            yield _arrow(name, 2 + MEMORY_WIDTH, y + BOX_HEIGHT // 2, BOX_X, y + BOX_HEIGHT // 2)
        y += BOX_HEIGHT
    yield _arrow(name, middle, y, middle, y + GAP)
    yield _text(middle, height - 6, "queue out", "port")


def _arrow(name: str, x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<path class="wire" d="M{x1},{y1} L{x2},{y2}" marker-end="url(#tip-{name})"/>'


def _lines(x: int, y: int, text: str, most: int, kind: str) -> Iterator[str]:
    """The text in as many lines as it takes, in the middle of a box whose top is at y."""
    lines = _broken(text, most)
    first = y + BOX_HEIGHT / 2 + 4 - (len(lines) - 1) * 7
    yield from (_text(x, first + n * 14, line, kind) for n, line in enumerate(lines))


def _broken(text: str, most: int) -> list[str]:
    """Break at spaces, and behind an underscore where a word is too long."""
    lines: list[str] = []
    for word in text.replace("_", "_\u200b").replace(".", ".\u200b").split(" "):
        for number, piece in enumerate(word.split("\u200b")):
            glue = " " if number == 0 else ""
            if lines and len(lines[-1]) + len(glue) + len(piece) <= most:
                lines[-1] += glue + piece
            else:
                lines.append(piece)
    return lines


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
