"""The table: which ONNX operations are understood, and since which opset each is what we know."""

from __future__ import annotations

from collections.abc import Mapping

from ._onnx_at import Entry
from ._onnx_elementwise import ELEMENTWISE
from ._onnx_linear import LINEAR
from ._onnx_normalise import NORMALISE
from ._onnx_pool import POOL
from ._onnx_qonnx import DOMAINS, QONNX
from ._onnx_quantise import QUANTISE
from ._onnx_resize import RESIZE
from ._onnx_shape import SHAPE

STANDARD: Mapping[str, Entry] = {**LINEAR, **POOL, **ELEMENTWISE, **NORMALISE, **SHAPE, **RESIZE, **QUANTISE}

# ONNX Runtime writes these two under its own domain where a file's opset is too old for them.
_MICROSOFT: Mapping[str, Entry] = {name: QUANTISE[name] for name in ("QuantizeLinear", "DequantizeLinear")}

TABLE: Mapping[str, Mapping[str, Entry]] = {
    "": STANDARD,
    "com.microsoft": _MICROSOFT,
    **dict.fromkeys(DOMAINS, QONNX),
}

# What to do about operations that people meet.
HINTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"), "quantise in the QDQ form (QuantFormat.QDQ)"
    ),
    "DynamicQuantizeLinear": "quantise with static ranges, found on calibration data",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent networks are not supported; use convolutions or attention"),
    **dict.fromkeys(("Loop", "If", "Scan"), "export the model with a fixed path of execution"),
    "FloatQuant": "use Quant: small floats have no units in hardware here",
}
