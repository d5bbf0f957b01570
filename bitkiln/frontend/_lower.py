"""From a traced program to a Graph: fold what does not depend on the input, look up the rest in the table.

A program is traced with batch 1, and may move or merge its batch axis; a Graph's values have theirs in front. So a
value of ATen shape S is carried in the Graph as S if S[0] is 1, else as (1, *S). As every Graph operation treats
samples separately, the Graph then computes for each sample of a batch what the program computes for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bitkiln.ir import Builder, Diagnostic, Float, Graph, Location, TensorType, ToolError, fail
from bitkiln.ir.ops import Concat, Op, Reshape, Slice

from ._fold import fold
from ._order import ordered
from ._places import plain_name
from ._program import Argument, Call, Program, Ref, Shape, bad_program, input_names, refs

MOST_ITEMS = 256  # of a batch that an operation on single images is unrolled over


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input: its name in the Graph and its shape in the program."""

    name: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Known:
    """A value that does not depend on the input."""

    path: str
    data: Tensor

    @property
    def shape(self) -> Shape:
        return tuple(self.data.shape)


Value = Activation | Known


def carried(shape: Shape) -> Shape:
    """The Graph's shape of a value of this ATen shape."""
    return shape if shape[:1] == (1,) else (1, *shape)


@dataclass
class Lowering:
    """The Graph under construction and what every value of the program became."""

    build: Builder
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[tuple[object, ...], str] = field(default_factory=dict)
    folded_macs: int = 0

    def constant(self, known: Known, loc: Location, shape: Shape | None = None) -> str:
        """Return the Graph's constant for a known value (tied weights share one), seen under `shape` if given."""
        data = known.data if shape is None else known.data.reshape(shape)
        if data.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            data = data.to(torch.float32)
        if data.dtype != torch.float32:
            raise wrong_dtype(known.path, data.dtype, loc)
        key = (data.data_ptr(), data.storage_offset(), tuple(data.shape), data.stride())
        if key not in self.constants:
            type_ = TensorType(tuple(data.shape), Float(32))
            self.constants[key] = self.build.constant(plain_name(known.path), type_, data)
        return self.constants[key]


@dataclass(frozen=True)
class At:
    """One call being lowered: typed access to its arguments, and `emit` for the operations that replace it."""

    call: Call
    lowering: Lowering

    @property
    def shape(self) -> Shape:
        """ATen shape of the (first) result, as the exporter found it."""
        return self.call.shapes[0]

    @property
    def is_read(self) -> tuple[bool, ...]:
        """For each result, whether the program names it."""
        return tuple(name != "" for name in self.call.results)

    def value(self, name: str) -> Value:
        argument = self.call.arguments[name]
        if isinstance(argument, Ref):
            return self.lowering.values[argument.name]
        if isinstance(argument, int | float):
            return Known(self.name_of(name), torch.tensor(float(argument)))
        raise self._wrong(name, "a tensor")

    def activation(self, name: str) -> Activation:
        """An argument as a value of the Graph; a known one becomes a constant with a batch axis."""
        return self.as_activation(self.value(name))

    def as_activation(self, value: Value) -> Activation:
        if isinstance(value, Activation):
            return value
        return Activation(self.lowering.constant(value, self.call.loc, carried(value.shape)), value.shape)

    def activations(self, name: str) -> tuple[Activation, ...]:
        """An argument that is a list of tensors; those without elements are left out."""
        argument = self.call.arguments[name]
        if not isinstance(argument, tuple) or not all(isinstance(item, Ref) for item in argument):
            raise self._wrong(name, "a list of tensors")
        values = [self.lowering.values[item] for item in refs(argument)]
        return tuple(self.as_activation(value) for value in values if 0 not in value.shape)

    def weight(self, name: str) -> str | None:
        """An argument that must be known, as a constant of the Graph; None if it is absent."""
        known = self.known(name)
        return None if known is None else self.lowering.constant(known, self.call.loc)

    def known(self, name: str) -> Known | None:
        if self.call.arguments[name] is None:
            return None
        value = self.value(name)
        if isinstance(value, Activation):
            raise self.unsupported(f"its {name} depends on the network's input", "make it a parameter or buffer")
        return value

    def ints(self, name: str, count: int) -> tuple[int, ...]:
        """A list of `count` whole numbers; one number stands for all."""
        argument = self.call.arguments[name]
        items = argument if isinstance(argument, tuple) else (argument,)
        found = tuple(item for item in items if isinstance(item, int))
        if len(found) != len(items) or len(found) not in (1, count):
            raise self._wrong(name, f"{count} whole numbers")
        return found * count if len(found) == 1 else found

    def pair(self, name: str) -> tuple[int, int]:
        first, second = self.ints(name, 2)
        return first, second

    def dims(self, name: str, rank: int) -> tuple[int, ...]:
        """A list of axes, or one axis, as numbers from 0; absent or empty means all."""
        argument = self.call.arguments[name]
        items = argument if isinstance(argument, tuple) else (argument,)
        if argument is None or not items:
            return tuple(range(rank))
        axes = tuple(item for item in items if isinstance(item, int) and -rank <= item < max(rank, 1))
        if len(axes) != len(items):
            raise self._wrong(name, f"axes of a tensor with {rank}")
        return tuple(axis % rank for axis in axes)

    def dim(self, name: str, rank: int) -> int:
        """One axis as a number from 0."""
        axes = self.dims(name, rank)
        if self.call.arguments[name] is None or len(axes) != 1:
            raise self._wrong(name, "one axis")
        return axes[0]

    def integer(self, name: str) -> int:
        return self.ints(name, 1)[0]

    def flag(self, name: str) -> bool:
        argument = self.call.arguments[name]
        if not isinstance(argument, bool):
            raise self._wrong(name, "true or false")
        return argument

    def number(self, name: str) -> float:
        argument = self.call.arguments[name]
        if isinstance(argument, bool) or not isinstance(argument, int | float):
            raise self._wrong(name, "a number")
        return float(argument)

    def optional(self, name: str) -> Argument:
        """An argument of any plain kind; None if it is absent."""
        return self.call.arguments[name]

    def name_of(self, what: str) -> str:
        """The name of a value inside this call's module."""
        return f"{self.call.scope}.{what}" if self.call.scope else what

    def emit(self, op: Op, *args: str, shape: Shape | None = None) -> Activation:
        """Append an operation. `shape` is its result's ATen shape, by default the call's; the Graph's may have a batch
        axis more."""
        build, expected = self.lowering.build, self.shape if shape is None else shape
        wanted = self.call.scope if self.call.is_layer else self.name_of(op.name)
        name = build.add(op, args, wanted, self.call.loc)
        found = build.types[name].shape
        if found not in (carried(expected), (1, *expected)):
            raise bad_program(
                f"{self.call.target} gives shape {list(found)}, but the program says {list(expected)}", self.call.loc
            )
        return self.reshape(Activation(name, expected), expected)

    def reshape(self, x: Activation, shape: Shape) -> Activation:
        """The same elements under another ATen shape; no operation if the Graph's shape stays."""
        return Activation(self.under(x, carried(shape)), shape)

    def under(self, x: Activation, graph_shape: Shape) -> str:
        """The value under another shape of the Graph, for operations that need its axes elsewhere."""
        if self.lowering.build.types[x.name].shape == graph_shape:
            return x.name
        return self.lowering.build.add(Reshape(graph_shape), (x.name,), self.name_of("reshape"), self.call.loc)

    def along(self, x: Activation, *dims: int) -> tuple[str, int]:
        """The value for an operation along these ATen axes, and what to add to an axis: 1 if the Graph's value has a
        batch axis more, which it needs where the program's own first axis takes part."""
        if x.shape[:1] == (1,) and 0 not in dims:
            return x.name, 0
        return self.under(x, (1, *x.shape)), 1

    def each(self, x: Activation, make: Callable[[str, Shape], Activation]) -> Activation:
        """Apply an operation on single images to all items of the program's first axis, where windows or heads may have
        joined the batch. `make` gets the value of one item and the shape of its result."""
        if x.shape[:1] == (1,):
            return make(x.name, self.shape)
        if x.shape[0] > MOST_ITEMS:
            raise self.unsupported(f"it treats {x.shape[0]} images as a batch", f"at most {MOST_ITEMS} are possible")
        shape = (1, *self.shape[1:])
        stacked, items = self.under(x, (1, *x.shape)), []
        for i in range(x.shape[0]):
            item = self.emit(Slice(1, i, i + 1), stacked, shape=(1, *x.shape[1:]))
            items.append(self.under(make(item.name, shape), (1, *shape)))
        return self.emit(Concat(1), *items)

    def aligned(self, value: Value, rank: int) -> str:
        """An operand with `rank` ATen axes, new ones in front, for an operation that broadcasts to the call's shape."""
        shape = (*[1] * (rank - len(value.shape)), *value.shape)
        if self.shape[:1] != (1,) or len(self.shape) < rank:
            shape = (1, *shape)
        if isinstance(value, Known):
            return self.lowering.constant(value, self.call.loc, shape)
        return self.under(value, shape)

    def unsupported(self, reason: str, hint: str = "") -> ToolError:
        return fail("unsupported-op", f"{self.call.target} is not supported here: {reason}", self.call.loc, hint)

    def _wrong(self, name: str, expected: str) -> ToolError:
        found = str(self.call.arguments[name])[:80]
        return bad_program(f"{self.call.target}: {name} must be {expected}, not {found}", self.call.loc)


_HINT = "write this part with supported operations (`bitkiln list ops`), or cut it off the model"
_HINTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu"),
        "recurrent networks are not supported; use convolutions or attention",
    ),
    **dict.fromkeys(
        ("gt", "ge", "lt", "le", "eq", "ne", "sign"),
        "hardware has no branches on values; use relu, clamp, maximum or minimum",
    ),
    **dict.fromkeys(("sort", "argsort", "nonzero"), "cut this off the model, and do it on the host"),
    **dict.fromkeys(("index_put", "scatter"), "write into slices (y[:, 2:4] = ...), or use torch.cat"),
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "complex", "view_as_complex"), "only real numbers can be built"),
    "_native_batch_norm_legit": "use BatchNorm with track_running_stats=True",
}

# What a call becomes; results that nothing reads may be None.
Rule = Callable[[At], Value | tuple[Value | None, ...]]


def lower(program: Program, table: Mapping[str, Rule]) -> Graph:
    """Return the Graph of `program`, or raise ToolError with every operation that the table does not have."""
    return lower_counting(program, table)[0]


def lower_counting(program: Program, table: Mapping[str, Rule]) -> tuple[Graph, int]:
    """Also return the multiply-accumulates of what was computed at import: the model as written does them, too."""
    program = ordered(program)
    findings = unsupported(program, table)
    if findings:
        raise ToolError(*findings)
    lowering = Lowering(Builder(plain_name(program.name)))
    for value in program.inputs:
        if value.dtype != torch.float32:
            raise wrong_dtype(f"input {value.name}", value.dtype, Location())
        if value.shape[:1] != (1,):
            raise fail(
                "input-shape",
                f"the program was exported for an input of {list(value.shape)}; its first size must be 1",
                hint="export the model with one sample as its example input",
            )
        name = lowering.build.input(plain_name(value.name), TensorType(carried(value.shape), Float(32)))
        lowering.values[value.name] = Activation(name, value.shape)
    for leaf in program.leaves:
        lowering.values[leaf.name] = Known(leaf.path, leaf.data)
    last_use = {name: i for i, call in enumerate(program.calls) for name in input_names(call)}
    last_use |= dict.fromkeys(program.outputs, len(program.calls))
    for i, call in enumerate(program.calls):
        _lower_call(lowering, call, table)
        for name in {*input_names(call), *call.results}:
            if last_use.get(name, i) <= i:
                lowering.values.pop(name, None)
    return lowering.build.graph([_output(lowering, name) for name in program.outputs]), lowering.folded_macs


def _lower_call(lowering: Lowering, call: Call, table: Mapping[str, Rule]) -> None:
    operands = {name: lowering.values[name] for name in input_names(call)}
    known = {name: value.data for name, value in operands.items() if isinstance(value, Known)}
    if len(known) == len(operands):
        tensors, macs = fold(call, known)
        lowering.folded_macs += macs
        path = At(call, lowering).name_of("constant")
        results: tuple[Value | None, ...] = tuple(Known(path, tensor) for tensor in tensors)
    else:
        lowered = table[call.target](At(call, lowering))
        results = lowered if isinstance(lowered, tuple) else (lowered,)
    for i, name in enumerate(call.results):
        value = results[i] if i < len(results) else None
        if name and value is None:
            raise At(call, lowering).unsupported(f"its result number {i + 1} is used", "use only its first result")
        if name and value is not None:
            lowering.values[name] = value


def _output(lowering: Lowering, name: str) -> str:
    value = lowering.values[name]
    if isinstance(value, Known):
        raise fail("constant-output", f"the output {value.path} does not depend on the network's input")
    return value.name


def unsupported(program: Program, table: Mapping[str, Rule]) -> list[Diagnostic]:
    """Return a finding for every call that depends on the input and has no rule."""
    live = {value.name for value in program.inputs}
    findings = []
    for call in program.calls:
        if not live.intersection(input_names(call)):
            continue
        live.update(call.results)
        if call.target not in table:
            findings.append(
                Diagnostic(
                    "unsupported-op",
                    f"{call.target} is not supported",
                    call.loc,
                    _HINTS.get(call.target.partition(".")[2].partition(".")[0], _HINT),
                )
            )
    return findings


def wrong_dtype(what: str, dtype: torch.dtype, loc: Location) -> ToolError:
    """Something has another element type than float32."""
    if dtype.is_complex:
        hint = "keep real and imaginary parts as two real tensors"
        return fail("complex-dtype", f"{what} is complex ({dtype}); only real numbers can be built", loc, hint)
    return fail(
        "wrong-dtype", f"{what} is {dtype}, expected torch.float32", loc, "call model.float() before the import"
    )
