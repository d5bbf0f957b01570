"""What turns values into codes by constants of their rows: the constants as tables, the comparisons as statements."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.units import Beat, Thresholds

from ._kernel import Table, element, literal, number, signed_bits


@dataclass
class RowConstants:
    """The constants of `rows` rows at a time: a table for each, and the declarations of the arrays they are read to.

    The declarations read the entry `row`.
    """

    name: str
    rows: int
    tables: list[Table] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)

    def read(self, array: str, bits: int, signed: bool, codes: NDArray[np.int64], suffix: str) -> str:
        """Have `codes` [rows of all entries, any] in `array`; return the first one of row `p`."""
        count = codes.size // len(codes)
        table = Table(f"{self.name}_{suffix}", bits, codes.reshape(len(codes) // self.rows, self.rows * count))
        self.tables.append(table)
        self.declarations += [
            f"{number(bits, signed)} {array}[{self.rows * count}];",
            f"HLS_PARTITION({array})",
            f"unpack<{bits}>({table.name}[row], {array});",
        ]
        return f"{array}[p * {count}]" if count > 1 else f"{array}[p]"


def compared(value: str, thresholds: Thresholds, output: Beat, constants: RowConstants) -> list[str]:
    """Statements that set `result.lane[p]` to the code that `value` reaches."""
    values, count, code = thresholds.values, thresholds.count, element(output)
    base, step = np.array(thresholds.base), np.array(thresholds.step)
    if output.bipolar:  # the bit that stands for the code
        base, step = (base + 1) >> 1, step >> 1
    levels = constants.read("level", signed_bits(int(values.min()), int(values.max())), True, values, "levels")
    first = _row_constant(base, "base", "bases", constants)
    each = _row_constant(step, "step", "steps", constants)
    reached = number(count.bit_length(), False)
    if count == 1 and base.min() == base.max() and step.min() == step.max():
        return [f"result.lane[p] = {code}({value} >= {levels} ? {base[0] + step[0]} : {base[0]});"]
    return [
        f"{reached} reached = 0;",
        "HLS_UNROLL_NEXT",
        f"for (int n = 0; n < {count}; ++n) {{",
        "    HLS_UNROLL",
        f"    reached += {value} >= {levels.removesuffix(']')} + n] ? 1 : 0;",
        "}",
        f"result.lane[p] = {code}({_sum(first, each)});",
    ]


def _row_constant(values: NDArray[np.int64], array: str, suffix: str, constants: RowConstants) -> str:
    """The constant of row `p`: a number if it is the same for all rows."""
    if values.min() == values.max():
        return literal(int(values[0]))
    return constants.read(array, signed_bits(int(values.min()), int(values.max())), True, values, suffix)


def _sum(base: str, step: str) -> str:
    product = {"1": "reached", "-1": "-reached"}.get(step, f"{step} * reached")
    return product if base == "0" else f"{base} + {product}"
