"""A systolic array, register by register: every cell computes with what its neighbours held a cycle before.

It does what the closed form says of one fold: the stationary operand is shifted in row by row, the moving one enters at
the edge a cycle later for each row, and the fold ends when its last result has left the array.
"""

from __future__ import annotations

import numpy as np

from bitkiln.sim.accelerator import Dataflow

Array = np.ndarray


def product(left: Array, right: Array, rows: int, columns: int, dataflow: Dataflow) -> tuple[Array, int]:
    """Return [positions, taps] times [taps, filters] and the cycles that an array of rows x columns takes."""
    match dataflow:
        case Dataflow.WEIGHT_STATIONARY:
            return _stationary(left, right, rows, columns)
        case Dataflow.INPUT_STATIONARY:
            result, cycles = _stationary(right.T, left.T, rows, columns)
            return result.T, cycles
        case Dataflow.OUTPUT_STATIONARY:
            return _accumulating(left, right, rows, columns)


def _stationary(moving: Array, kept: Array, rows: int, columns: int) -> tuple[Array, int]:
    """`kept` [taps, filters] stays fold by fold, `moving` [positions, taps] passes."""
    result, cycles = np.zeros((len(moving), kept.shape[1]), np.int64), 0
    for tap in range(0, kept.shape[0], rows):
        for column in range(0, kept.shape[1], columns):
            block = np.zeros((rows, columns), np.int64)
            part = kept[tap : tap + rows, column : column + columns]
            block[: part.shape[0], : part.shape[1]] = part
            sums, spent = _pass(moving[:, tap : tap + rows], block)
            result[:, column : column + columns] += sums[:, : part.shape[1]]
            cycles += spent
    return result, cycles


def _pass(moving: Array, block: Array) -> tuple[Array, int]:
    """Load `block` through the top row, then stream `moving` from the left; sums leave at the bottom."""
    rows, columns = block.shape
    held = np.zeros_like(block)
    for cycle in range(rows):
        held[1:] = held[:-1].copy()
        held[0] = block[rows - 1 - cycle]
    assert (held == block).all()
    passing, sums = np.zeros_like(block), np.zeros_like(block)
    found = np.zeros((len(moving), columns), np.int64)
    cycles, missing = rows, len(moving) * columns
    step = 0
    while missing:
        entering = np.zeros(rows, np.int64)
        for row in range(moving.shape[1]):
            if 0 <= step - row < len(moving):
                entering[row] = moving[step - row, row]
        passing[:, 1:] = passing[:, :-1].copy()
        passing[:, 0] = entering
        above = np.vstack([np.zeros((1, columns), np.int64), sums[:-1]])
        sums = above + held * passing
        for column in range(columns):
            position = step - (rows - 1) - column
            if 0 <= position < len(moving):
                found[position, column] = sums[-1, column]
                missing -= 1
        step += 1
    return found, cycles + step


def _accumulating(left: Array, right: Array, rows: int, columns: int) -> tuple[Array, int]:
    """A cell keeps its sum while both operands pass; all sums are read at once at the end, as SCALE-Sim counts."""
    result, cycles = np.zeros((len(left), right.shape[1]), np.int64), 0
    taps = left.shape[1]
    for top in range(0, len(left), rows):
        for side in range(0, right.shape[1], columns):
            a, b = left[top : top + rows], right[:, side : side + columns]
            sums, from_left, from_top = (np.zeros((rows, columns), np.int64) for _ in range(3))
            steps = rows + columns + taps - 2
            for step in range(steps):
                from_left[:, 1:], from_top[1:] = from_left[:, :-1].copy(), from_top[:-1].copy()
                from_left[:, 0], from_top[0] = 0, 0
                for row in range(len(a)):
                    if 0 <= step - row < taps:
                        from_left[row, 0] = a[row, step - row]
                for column in range(b.shape[1]):
                    if 0 <= step - column < taps:
                        from_top[0, column] = b[step - column, column]
                sums += from_left * from_top
            result[top : top + rows, side : side + columns] = sums[: len(a), : b.shape[1]]
            cycles += steps
    return result, cycles
