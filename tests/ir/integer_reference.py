"""The operations on codes once more, in Python's own integers and plain loops: shares nothing with bitkiln.ir.ops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Codes = NDArray[np.object_]
Pair = tuple[int, int]


def codes(tensor: Tensor) -> Codes:
    """Return the whole numbers of a tensor as Python integers."""
    wide = np.array(tensor.detach().tolist(), dtype=object)
    whole = np.vectorize(int, otypes=[object])(wide) if wide.size else wide
    assert (whole == wide).all(), "fractions where codes are expected"
    return whole.reshape(tuple(tensor.shape))


def linear(x: Codes, weight: Codes, bias: Codes | None) -> Codes:
    rows = x.reshape(-1, x.shape[-1])
    result = [[sum(int(a) * int(b) for a, b in zip(row, w, strict=True)) for w in weight] for row in rows]
    total = np.array(result, dtype=object).reshape(*x.shape[:-1], len(weight))
    return total if bias is None else total + bias


def conv2d(
    x: Codes, weight: Codes, bias: Codes | None, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int
) -> Codes:
    padded = _padded(x, padding)
    filters, depth, kernel_h, kernel_w = weight.shape
    height = (padded.shape[2] - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    width = (padded.shape[3] - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    result = np.zeros((len(x), filters, height, width), dtype=object)
    taps = list(itertools.product(range(depth), range(kernel_h), range(kernel_w)))
    for n, f, i, j in itertools.product(*map(range, result.shape)):
        first = f // (filters // groups) * depth
        result[n, f, i, j] = sum(
            int(weight[f, c, a, b])
            * int(padded[n, first + c, i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]])
            for c, a, b in taps
        ) + (0 if bias is None else int(bias[f]))
    return result


def sum_pool2d(x: Codes, kernel: Pair, stride: Pair, padding: Pair, shape: Sequence[int]) -> Codes:
    """`shape` is that of the result; windows may reach beyond the input, where there are zeros."""
    result = np.zeros(tuple(shape), dtype=object)
    for n, c, i, j in itertools.product(*map(range, shape)):
        for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
            row, column = i * stride[0] + a - padding[0], j * stride[1] + b - padding[1]
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                result[n, c, i, j] += int(x[n, c, row, column])
    return result


def add(x: Codes, y: Codes, shifts: Pair) -> Codes:
    total: Codes = x * 2 ** shifts[0] + y * 2 ** shifts[1]
    return total


def requantise(x: Codes, shift: Sequence[int], multiplier: int, lo: int, hi: int) -> Codes:
    """One shift for all, or one a channel of axis 1."""
    result = np.empty(x.shape, dtype=object)
    for index in np.ndindex(*x.shape):
        s = shift[0] if len(shift) == 1 else shift[index[1]]
        product = int(x[index]) * multiplier
        # Half up: the greatest integer n with n <= product / 2**s + 1/2, by floor division of doubled numbers.
        code = (2 * product + 2**s) // (2 * 2**s) if s > 0 else product * 2**-s
        result[index] = max(lo, min(hi, code))
    return result


def _padded(x: Codes, padding: tuple[Pair, Pair]) -> Codes:
    return np.pad(x, ((0, 0), (0, 0), *padding), constant_values=0)
