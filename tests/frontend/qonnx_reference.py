"""QONNX networks executed node by node in NumPy, from the operations' definitions: shares nothing with bitkiln."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]


def int_quant(x: Floats, scale: Floats, zero_point: Floats, bits: int, signed: bool, narrow: bool) -> Floats:
    """Scale, shift, clamp, round halves to even, and back."""
    lo = -(2 ** (bits - 1)) + narrow if signed else 0
    hi = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    codes = np.round(np.clip(x / scale + zero_point, np.float32(lo), np.float32(hi)))
    result: Floats = (codes - zero_point) * scale
    return result


def execute(path: Path, x: Floats) -> Floats:
    """The output of a network for one sample, in 32-bit floats."""
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (name,) = [value.name for value in graph.input if value.name not in values]
    values[name] = x
    for node in graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        values[node.output[0]] = _execute(node.op_type, [values[name] for name in node.input], attributes)
    return values[graph.output[0].name]


def _execute(op: str, inputs: list[Floats], attributes: dict[str, object]) -> Floats:
    match op:
        case "Quant":
            x, scale, zero_point, bits = inputs
            return int_quant(x, scale, zero_point, int(bits), bool(attributes["signed"]), bool(attributes["narrow"]))
        case "BipolarQuant":
            return np.where(inputs[0] >= 0, np.float32(1), np.float32(-1)) * inputs[1]
        case "Flatten":
            return inputs[0].reshape(len(inputs[0]), -1)
        case "Transpose":
            return inputs[0].T
        case "MatMul":
            return inputs[0] @ inputs[1]
        case "BatchNormalization":
            x, gamma, beta, mean, variance = inputs
            epsilon = attributes["epsilon"]
            assert isinstance(epsilon, float)
            result: Floats = (x - mean) / np.sqrt(variance + np.float32(epsilon)) * gamma + beta
            return result
        case "Relu":
            return np.maximum(inputs[0], 0)
        case _:
            raise AssertionError(f"{op} is not in the networks that this is for")
