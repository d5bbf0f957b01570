"""Programs of PyTorch's pt2e quantisation: pairs of quantize and dequantize become one quantiser, and codes of weights
the numbers that they stand for, on a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bitkiln.ir import ToolError, fail
from bitkiln.passes.grids import Grid

from ._fold import fold
from ._program import Argument, Call, Leaf, Program, Ref, bad_program, input_names
from ._quant_rules import SCALED

_NAMESPACE = "quantized_decomposed."
# Operations that move elements, or choose among them: the codes that they give stand for what they would give.
_MOVES = (
    *("view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "t", "slice"),
    *("select", "expand", "clone", "alias", "contiguous", "max_pool2d", "max_pool1d"),
)


@dataclass(frozen=True)
class _Codes:
    """What a quantized value stands for; one scale and zero point, or one a channel along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass
class _Decoder:
    """The new program in the making. `renamed` maps values to what stands for them now."""

    program: Program
    leaves: dict[str, Leaf]
    producers: dict[str, Call]
    calls: list[Call] = field(default_factory=list)
    grids: dict[int, Grid] = field(default_factory=dict)
    codes: dict[str, _Codes] = field(default_factory=dict)
    renamed: dict[str, Argument] = field(default_factory=dict)

    def constant(self, name: str) -> Tensor | None:
        """The value, if it does not depend on the program's input."""
        if name in self.leaves:
            return self.leaves[name].data
        call = self.producers.get(name)
        if call is None:
            return None
        known = {operand: self.constant(operand) for operand in input_names(call)}
        data = {operand: tensor for operand, tensor in known.items() if tensor is not None}
        if len(data) != len(known):
            return None
        return fold(call, data)[0][call.results.index(name)]


def is_quantised_program(program: Program) -> bool:
    """True if the program quantises, or has weights that were."""
    return any(call.target.startswith(_NAMESPACE) for call in program.calls)


def decode_quantisers(program: Program) -> tuple[Program, Mapping[int, Grid]]:
    """Return the program without codes, and the grids of its weights by the address of their data.

    Raises ToolError `unsupported-op` for arithmetic on codes and for parameters that depend on the input.
    """
    producers = {name: call for call in program.calls for name in call.results if name}
    decoder = _Decoder(program, {leaf.name: leaf for leaf in program.leaves}, producers)
    for call in program.calls:
        _decode(decoder, call)
    outputs = []
    for name in program.outputs:
        if name in decoder.codes:
            raise fail("unsupported-op", f"the output {name} are codes", hint="end the model with dequantize")
        new = _renamed(decoder, Ref(name))
        assert isinstance(new, Ref)
        outputs.append(new.name)
    leaves = tuple(decoder.leaves.values())
    decoded = replace(program, leaves=leaves, calls=tuple(decoder.calls), outputs=tuple(outputs))
    return decoded, decoder.grids


def _decode(decoder: _Decoder, call: Call) -> None:
    rule = TABLE.get(call.target.removeprefix(_NAMESPACE)) if call.target.startswith(_NAMESPACE) else None
    if rule is not None:
        rule(decoder, call)
        return
    quantised = [name for name in input_names(call) if name in decoder.codes]
    if quantised:
        if call.target.split(".")[1] not in _MOVES:
            raise _unsupported(call, "it computes with codes", "dequantize before it")
        codes = decoder.codes[quantised[0]]
        if len(codes.scale) > 1:
            raise _unsupported(call, "it moves codes whose scales differ along an axis", "dequantize before it")
        decoder.codes[call.results[0]] = codes
    arguments = {name: _renamed(decoder, argument) for name, argument in call.arguments.items()}
    decoder.calls.append(replace(call, arguments=arguments))


def _renamed(decoder: _Decoder, argument: Argument) -> Argument:
    if isinstance(argument, Ref):
        return decoder.renamed.get(argument.name, argument)
    if isinstance(argument, tuple):
        return tuple(_renamed(decoder, item) for item in argument)
    return argument


def quantize(decoder: _Decoder, call: Call) -> None:
    """clamp(round(x / scale) + zero point), halves to even."""
    codes, x = _codes(decoder, call), _subject(call)
    lo, hi = _whole(call, "quant_min"), _whole(call, "quant_max")
    data = decoder.constant(x)
    if data is not None:
        scale, zero_point = (_along(values, data, codes.axis, call) for values in (codes.scale, codes.zero_point))
        _add_leaf(decoder, call, x, (torch.round(data / scale) + zero_point).clamp(lo, hi).to(torch.int32))
        return
    if len(set(codes.zero_point)) > 1:
        raise _unsupported(call, "its zero points differ along an axis", "use one zero point for activations")
    if not lo <= codes.zero_point[0] <= hi:
        raise _unsupported(call, f"its zero point {codes.zero_point[0]} is no code from {lo} to {hi}", "")
    arguments: dict[str, Argument] = {
        "x": _renamed(decoder, call.arguments["input"]),
        "scale": codes.scale,
        "zero_point": (0,),  # it does not take part in rounding, so it moves the limits only
        "axis": codes.axis,
        "lo": lo - codes.zero_point[0],
        "hi": hi - codes.zero_point[0],
        "rounding": "half_even",
        "truncate": 0,
        "by_reciprocal": True,
        "result_scale": codes.scale,
    }
    decoder.calls.append(replace(call, target=SCALED, arguments=arguments))
    decoder.codes[call.results[0]] = codes


def dequantize(decoder: _Decoder, call: Call) -> None:
    """(codes - zero point) * scale."""
    codes, x = _codes(decoder, call), _subject(call)
    if call.arguments.get("out_dtype") not in (None, torch.float32):
        raise _unsupported(call, f"it gives {call.arguments['out_dtype']}", "compute in float32")
    if x in decoder.codes:
        if decoder.codes[x] != codes:
            raise _unsupported(call, "its scale or zero point is not that of the quantize before it", "use the same")
        decoder.renamed[call.results[0]] = _renamed(decoder, Ref(x))
        return
    data = decoder.constant(x)
    if data is None:
        raise _unsupported(call, "its input are codes that no quantize made", "give the model a float input")
    scale, zero_point = (_along(values, data, codes.axis, call) for values in (codes.scale, codes.zero_point))
    values = (data.to(torch.float32) - zero_point) * scale
    _add_leaf(decoder, call, x, values)
    decoder.grids[values.data_ptr()] = Grid(values, scale.reshape(-1))


def _add_leaf(decoder: _Decoder, call: Call, source: str, data: Tensor) -> None:
    """A constant in place of a call's result, called as the constant that it was made of."""
    old = decoder.leaves.get(source)
    path = old.path if old is not None else source
    decoder.leaves[call.results[0]] = Leaf(call.results[0], path, data, old is not None and old.is_parameter)


def _subject(call: Call) -> str:
    argument = call.arguments.get("input")
    if not isinstance(argument, Ref):
        raise bad_program(f"{call.target} has no input", call.loc)
    return argument.name


def _codes(decoder: _Decoder, call: Call) -> _Codes:
    """Scale, zero point and axis: numbers, or tensors that do not depend on the input."""
    per_channel = "axis" in call.arguments
    scale = _numbers(decoder, call, "scales" if per_channel else "scale")
    zero_point = _numbers(decoder, call, "zero_points" if per_channel else "zero_point")
    axis = _whole(call, "axis") if per_channel else 0
    if not all(0 < value < 1e30 for value in scale) or len(zero_point) not in (1, len(scale)) or not scale:
        raise bad_program(f"{call.target}: the scales must be positive, with as many zero points", call.loc)
    return _Codes(scale, tuple(int(value) for value in zero_point), axis if len(scale) > 1 else 0)


def _numbers(decoder: _Decoder, call: Call, name: str) -> tuple[float, ...]:
    argument = call.arguments.get(name)
    if isinstance(argument, int | float):
        return (float(argument),)
    if argument is None and name == "zero_points":
        return (0.0,)
    data = decoder.constant(argument.name) if isinstance(argument, Ref) else None
    if data is None:
        raise _unsupported(call, f"its {name} depends on the input", "quantise with static ranges")
    return tuple(data.to(torch.float64).reshape(-1).tolist())


def _whole(call: Call, name: str) -> int:
    argument = call.arguments.get(name)
    if isinstance(argument, bool) or not isinstance(argument, int):
        raise bad_program(f"{call.target}: {name} must be a whole number", call.loc)
    return argument


def _along(values: tuple[float, ...] | tuple[int, ...], data: Tensor, axis: int, call: Call) -> Tensor:
    """The values as a tensor of float32 that broadcasts along the axis."""
    tensor = torch.tensor(values, dtype=torch.float32)
    if tensor.numel() == 1:
        return tensor.reshape(())
    if not -data.dim() <= axis < data.dim() or data.shape[axis] != tensor.numel():
        raise bad_program(f"{call.target}: {tensor.numel()} scales do not fit {list(data.shape)}", call.loc)
    shape = [1] * data.dim()
    shape[axis] = -1
    return tensor.reshape(shape)


def _unsupported(call: Call, reason: str, hint: str) -> ToolError:
    return fail("unsupported-op", f"{call.target} is not supported here: {reason}", call.loc, hint)


# The overloads that pt2e writes; those that find scales at run time are refused as unknown.
TABLE: Mapping[str, Callable[[_Decoder, Call], None]] = {
    "quantize_per_tensor.default": quantize,
    "quantize_per_tensor.tensor": quantize,
    "quantize_per_channel.default": quantize,
    "dequantize_per_tensor.default": dequantize,
    "dequantize_per_tensor.tensor": dequantize,
    "dequantize_per_channel.default": dequantize,
}
