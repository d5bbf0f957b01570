"""One ONNX node being translated: typed access to its inputs and attributes, and `emit` for the ATen calls it becomes.

ONNX programs take the road of torch's: the same calls, the same table, so that the doors cannot disagree. What does not
depend on the model's input is computed here, because the shapes of later calls depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import ToolError, fail

from ._aten import RULES
from ._check import overload
from ._onnx_file import OnnxNode, bad_onnx
from ._program import Argument, Call, Leaf, Ref, Shape, as_argument, complete, input_names
from ._quant_rules import QUANTISERS

# Elements that may be computed at import beside those of the file: more than any network needs.
SPARE_ELEMENTS = 1 << 26
MAX_CLAIMED = 1 << 28
MAX_WORK = 1 << 33  # products of a constant's computation
MAX_ELEMENTS = 1 << 31
PENDING = ("erf.default",)  # part of a pattern; on its own the table refuses it later
_COSTLY = ("conv", "linear", "matmul", "pool", "upsample")
_VIEWS = ("aten.t.default", "aten.permute.default", "aten.slice.Tensor", "aten.select.int", "aten.expand.default")
_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Fixed:
    """A value that does not depend on the model's input. If a quantiser made it, `scale` holds the scales of its
    codes, one for all or one a channel, wherever that axis is by now."""

    path: str
    data: Tensor
    scale: Tensor | None = None

    @property
    def shape(self) -> Shape:
        return tuple(self.data.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype


@dataclass(frozen=True)
class Codes:
    """How the codes that QuantizeLinear makes stand for numbers. `source` is what it read, as long as nothing moved
    them: other limits are then another quantiser of that."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    lo: int
    hi: int
    source: Live | None


@dataclass(frozen=True)
class Live:
    """A value that depends on the input: its name in the program. With `codes`, the file means the whole numbers, but
    the program's value is what they stand for."""

    name: str
    shape: Shape
    dtype: torch.dtype = torch.float32
    codes: Codes | None = None


@dataclass(frozen=True)
class Broken:
    """The result of a node that was refused; what depends on it is not looked at."""


Value = Fixed | Live
T = TypeVar("T", int, float, str)
Item = Value | Argument | tuple["Item", ...]


@dataclass
class Translation:
    """The program in the making."""

    inputs: Mapping[str, Live]
    spare_elements: int
    is_parameter: Callable[[str], bool]
    calls: list[Call] = field(default_factory=list)
    results: dict[str, tuple[Live, Call]] = field(default_factory=dict)
    claimed_elements: int = 0
    leaves: dict[int, tuple[Fixed, Leaf]] = field(default_factory=dict)
    fixed: dict[str, Fixed] = field(default_factory=dict)

    def ref(self, value: Value) -> Ref:
        """How a call names the value; a fixed one becomes a leaf of the program."""
        if isinstance(value, Live):
            return Ref(value.name)
        if id(value) not in self.leaves:
            leaf = Leaf(f"leaf{len(self.leaves)}", value.path, value.data, self.is_parameter(value.path))
            self.leaves[id(value)] = (value, leaf)
            self.fixed[leaf.name] = value
        return Ref(self.leaves[id(value)][1].name)

    def producer(self, value: Value) -> Call | None:
        """The call that computes a value."""
        found = self.results.get(value.name) if isinstance(value, Live) else None
        return None if found is None else found[1]

    def operands(self, call: Call) -> tuple[Value, ...]:
        """The values that a call reads."""
        return tuple(self.named(name) for name in input_names(call))

    def named(self, name: str) -> Value:
        if name in self.fixed:
            return self.fixed[name]
        return self.results[name][0] if name in self.results else self.inputs[name]


@dataclass
class At:
    """A node with its inputs; reading marks them, so that nothing in the file is passed over in silence."""

    node: OnnxNode
    version: int
    inputs: tuple[Value | None, ...]
    translation: Translation
    read_inputs: set[int] = field(default_factory=set)
    read_attributes: set[str] = field(default_factory=set)

    def raw(self, index: int) -> Value:
        """An input, which may be codes."""
        self.read_inputs.add(index)
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise bad_onnx(f"{self.node.op} needs an input number {index + 1}", self.node.loc)
        return value

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        value = self.raw(index)
        if isinstance(value, Live) and value.codes is not None:
            raise self.unsupported(
                "it computes with the codes of QuantizeLinear", "put DequantizeLinear before it (the QDQ form)"
            )
        return value

    def values(self) -> tuple[Value, ...]:
        return tuple(self.value(index) for index in range(len(self.inputs)))

    def optional(self, index: int) -> Value | None:
        return self.value(index) if self.has(index) else None

    def tensor(self, index: int) -> Tensor:
        """An input that must not depend on the model's input."""
        value = self.value(index)
        if isinstance(value, Live):
            raise self.unsupported(
                f"its input number {index + 1} depends on the model's input", "make it a constant of the model"
            )
        return value.data

    def integers(self, index: int) -> tuple[int, ...]:
        """A list of whole numbers: a shape, axes, sizes."""
        data = self.tensor(index)
        if data.dtype not in (torch.int32, torch.int64) or data.dim() > 1 or data.numel() > 1 << 16:
            raise bad_onnx(f"{self.node.op}: the input number {index + 1} is no list of whole numbers", self.node.loc)
        return tuple(data.reshape(-1).tolist())

    def scalar(self, index: int) -> float:
        """A single number."""
        data = self.tensor(index)
        if data.numel() != 1:
            raise self.unsupported(f"its input number {index + 1} has shape {list(data.shape)}", "one number works")
        number = float(data.reshape(()))
        return as_written(number) if data.dtype == torch.float32 else number

    def integer(self, name: str, default: int | None = None) -> int:
        return self._attribute(name, int, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self.integer(name, int(default)) != 0

    def number(self, name: str, default: float | None = None) -> float:
        return as_written(self._attribute(name, float, default))

    def text(self, name: str, default: str | None = None) -> str:
        return self._attribute(name, str, default)

    def ints(self, name: str) -> tuple[int, ...] | None:
        self.read_attributes.add(name)
        found = self.node.attributes.get(name, ())
        if not isinstance(found, tuple) or not all(isinstance(item, int) for item in found):
            raise bad_onnx(f"{self.node.op}: {name} must be a list of whole numbers", self.node.loc)
        return tuple(item for item in found if isinstance(item, int)) if name in self.node.attributes else None

    def has_attribute(self, name: str) -> bool:
        return name in self.node.attributes

    def _attribute(self, name: str, kind: type[T], default: T | None) -> T:
        self.read_attributes.add(name)
        found = self.node.attributes.get(name, default)
        if found is None:
            raise bad_onnx(f"{self.node.op} needs the attribute {name!r}", self.node.loc)
        if not isinstance(found, kind):
            raise bad_onnx(f"{self.node.op}: {name} must be of kind {kind.__name__}", self.node.loc)
        return found

    def axis(self, axis: int, rank: int) -> int:
        """An axis as a number from 0."""
        if not -rank <= axis < rank:
            raise bad_onnx(f"{self.node.op}: there is no axis {axis} of {rank}", self.node.loc)
        return axis % rank

    def check_all_read(self) -> None:
        """Raise `unsupported-op` for attributes and inputs that the rule did not look at."""
        attributes = sorted(set(self.node.attributes) - self.read_attributes)
        inputs = [i + 1 for i, value in enumerate(self.inputs) if value is not None and i not in self.read_inputs]
        if attributes:
            raise self.unsupported(f"its attribute {attributes[0][:80]!r} is not known", "leave it out")
        if inputs:
            raise self.unsupported(f"its input number {inputs[0]} is not known", "leave it out")

    def name_of(self, what: str) -> str:
        return f"{self.node.scope}.{what}" if self.node.scope else what

    def fixed(self, data: Tensor, what: str = "constant") -> Fixed:
        """A new constant."""
        return Fixed(self.name_of(what), data)

    def emit(self, target: str, *given: Item, which: int = 0) -> Value:
        """Call `aten.<target>` with arguments in the schema's order; later ones have their defaults.

        Computed at once if no argument depends on the model's input. Returns the result number `which`.
        """
        found = overload(f"aten.{target}")
        assert found is not None, target
        named = dict(zip((argument.name for argument in found._schema.arguments), given, strict=False))
        result = self._without_data(found, named, which)
        operands = list(_values(given))
        if all(isinstance(operand, Fixed) for operand in operands):
            return self._compute(found, named, result, which)
        if min(result.shape, default=1) < 1:
            raise self.unsupported("its result has no elements", "remove it from the model")
        if f"aten.{target}" not in RULES and target not in PENDING:
            raise self.unsupported("it depends on the model's input", "write this part with supported operations")
        return self._append(f"aten.{target}", found, named, result, which)

    def call(self, target: str, arguments: dict[str, Item], shape: Shape) -> Live:
        """Append a call of our own, which torch does not know."""
        assert target in QUANTISERS, target
        named = {name: self._argument(item) for name, item in arguments.items()}
        return self._record(target, named, (True,), shape, torch.float32)

    def _append(self, target: str, found: Any, named: dict[str, Item], result: Tensor, which: int) -> Live:
        given = {name: self._argument(item) for name, item in named.items()}
        arguments = complete(found._schema, given, self.node.loc)
        is_kept = tuple(i == which for i in range(len(found._schema.returns)))
        return self._record(target, arguments, is_kept, tuple(result.shape), result.dtype)

    def _record(
        self, target: str, arguments: dict[str, Argument], is_kept: tuple[bool, ...], shape: Shape, dtype: torch.dtype
    ) -> Live:
        name = f"value{len(self.translation.calls)}"
        names, shapes = tuple(name if kept else "" for kept in is_kept), (shape,) * len(is_kept)
        call = Call(target, self.node.scope, self.node.is_layer is not False, arguments, names, shapes, self.node.loc)
        self.translation.calls.append(call)
        live = Live(name, shape, dtype)
        self.translation.results[name] = (live, call)
        return live

    def _argument(self, item: Item) -> Argument:
        if isinstance(item, Fixed | Live):
            return self.translation.ref(item)
        if isinstance(item, tuple):
            return tuple(self._argument(part) for part in item)
        return as_argument(item) if not isinstance(item, Ref) else item

    def _without_data(self, found: Any, named: dict[str, Item], which: int) -> Tensor:
        """The result by torch's own shape rules."""

        def meta(value: Value) -> Tensor:
            return torch.empty(value.shape, dtype=value.dtype, device="meta")

        result = self._run(found, named, meta, which)
        if result.numel() > MAX_ELEMENTS:
            raise bad_onnx(f"{self.node.op} gives the shape {list(result.shape)}", self.node.loc)
        return result

    def _run(self, found: Any, named: dict[str, Item], tensor: Callable[[Value], Tensor], which: int) -> Tensor:
        def plain(item: Item) -> object:
            if isinstance(item, Fixed | Live):
                return tensor(item)
            return [plain(part) for part in item] if isinstance(item, tuple) else item

        arguments = {argument.name: argument.kwarg_only for argument in found._schema.arguments}
        positional = [plain(item) for name, item in named.items() if not arguments[name]]
        keywords = {name: plain(item) for name, item in named.items() if arguments[name]}
        try:
            with torch.no_grad():
                result = found(*positional, **keywords)
        except _MISFITS as error:
            message = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise bad_onnx(f"{self.node.op} does not fit its inputs: {message}", self.node.loc) from None
        chosen = result[which] if isinstance(result, list | tuple) else result
        assert isinstance(chosen, Tensor)
        return chosen

    def _compute(self, found: Any, named: dict[str, Item], shape: Tensor, which: int) -> Fixed:
        def data(value: Value) -> Tensor:
            assert isinstance(value, Fixed)
            return value.data

        operands = [value for value in _values(tuple(named.values())) if isinstance(value, Fixed)]
        work = shape.numel()
        if found._schema.name.removeprefix("aten::").startswith(_COSTLY):
            work *= max((operand.data.numel() for operand in operands), default=1)
        if str(found) not in _VIEWS:
            self.spend(shape.numel(), work)
        scale = operands[0].scale if len(operands) == 1 else None
        return Fixed(
            operands[0].path if operands else self.name_of("constant"), self._run(found, named, data, which), scale
        )

    def spend(self, elements: int, work: int = 0) -> None:
        """Account for a constant that is about to be computed."""
        self.translation.spare_elements -= elements
        if self.translation.spare_elements < 0 or work > MAX_WORK:
            raise bad_onnx(f"{self.node.op} would compute too large a constant", self.node.loc)

    def claim(self, elements: int) -> None:
        """Account for a constant of one number, which takes memory only once something is computed of it."""
        self.translation.claimed_elements += elements
        if self.translation.claimed_elements > MAX_CLAIMED:
            raise bad_onnx(f"{self.node.op} makes too large a constant", self.node.loc)

    def unsupported(self, reason: str, hint: str = "") -> ToolError:
        name = f"{self.node.domain}.{self.node.op}" if self.node.domain else self.node.op
        return fail("unsupported-op", f"{name} is not supported here: {reason}", self.node.loc, hint)


Rule = Callable[[At], Value | tuple[Value, ...]]


@dataclass(frozen=True)
class Entry:
    """A rule, and the opsets in which the operation changed that it knows; a later change is refused."""

    rule: Rule
    versions: tuple[int, ...]


def _values(items: Iterable[Item]) -> Iterator[Value]:
    for item in items:
        if isinstance(item, Fixed | Live):
            yield item
        elif isinstance(item, tuple):
            yield from _values(item)


def as_written(number: float) -> float:
    """The number that a 32-bit float was written as: the shortest decimal that it is the float of, 0.1 for 0.1f."""
    return float(str(np.float32(number)))


def same_codes(at: At, x: Value, result: Value) -> Value:
    """The result of moving `x`: codes if that are codes."""
    if not isinstance(x, Live) or not isinstance(result, Live) or x.codes is None:
        return result
    if len(x.codes.scale) > 1 or len(x.codes.zero_point) > 1:
        raise at.unsupported("it moves codes whose scales differ along an axis", "put DequantizeLinear before it")
    return replace(result, codes=replace(x.codes, source=None))
