"""The ONNX door: a file, with or without quantisers of QONNX or QuantizeLinear, to a canonical Graph.

Nodes become the ATen calls that torch's exporter would have made of the same network, and take the road of the torch
door from there. Quantised networks become exact integers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bitkiln.ir import Diagnostic, Graph, ToolError, fail, known_names
from bitkiln.ir.types import MAX_ELEMENTS
from bitkiln.passes.grids import Grid

from ._onnx_at import SPARE_ELEMENTS, At, Broken, Entry, Fixed, Live, Translation, Value
from ._onnx_file import OnnxInput, OnnxModel, OnnxNode, bad_onnx, read_onnx
from ._onnx_table import HINTS, STANDARD, TABLE
from ._program import Program, ProgramInput, Shape
from .quantised import finish_quantised
from .torch_import import Imported

OLDEST_OPSET = 7
_NO_OPSET = 1 << 20


@dataclass(frozen=True, eq=False)
class OnnxProgram:
    """A program, and which of its constants a quantiser made."""

    program: Program
    grids: Mapping[int, Grid]


def import_onnx(path: Path, name: str = "", input_shape: Shape | None = None) -> Graph:
    """Return the canonical Graph of a model; with quantisers it is of integers wherever they allow it.

    `input_shape` gives sizes that the file leaves open; a batch that is open is 1. Raises ToolError `bad-onnx`,
    `unsupported-op` (one for each such node), `dynamic-shape`, `unsafe-path`, ...
    """
    return import_onnx_counting(path, name, input_shape).graph


def import_onnx_counting(path: Path, name: str = "", input_shape: Shape | None = None) -> Imported:
    """Like `import_onnx`, with the numbers that the canonical Graph no longer shows."""
    found = read_onnx_program(path, name, input_shape)
    graph, folded_macs = finish_quantised(found.program, found.grids)
    return Imported(graph, found.program.parameters, folded_macs)


def read_onnx_program(path: Path, name: str = "", input_shape: Shape | None = None) -> OnnxProgram:
    """Read and translate a model without lowering it."""
    model = read_onnx(path)
    return _Translator(model, _inputs(model, input_shape)).run(name or path.stem)


def _inputs(model: OnnxModel, given: Shape | None) -> tuple[ProgramInput, ...]:
    if given is not None and len(model.inputs) != 1:
        raise fail("many-inputs", f"an input shape is given, but the model has {len(model.inputs)} inputs")
    if len({value.name for value in model.inputs}) != len(model.inputs):
        raise bad_onnx("two inputs of the model have the same name")
    return tuple(ProgramInput(value.name, _shape(value, given), value.dtype) for value in model.inputs)


def _shape(value: OnnxInput, given: Shape | None) -> Shape:
    """The file's sizes; the batch is 1 where it is open."""
    sizes: tuple[int | None, ...] = value.shape
    if sizes[:1] == (None,):
        sizes = (1, *sizes[1:])
    if given is not None:
        fits = len(given) == len(sizes) and all(a in (b, None) for a, b in zip(sizes, given, strict=True))
        if not fits:
            shown = [size or "?" for size in value.shape]
            raise fail("input-shape", f"the input {value.name!r} has shape {shown}, not {list(given)}")
        if math.prod(given) > MAX_ELEMENTS:
            raise fail(
                "input-shape", f"a sample has at most {MAX_ELEMENTS} values, not {math.prod(given)}: {list(given)}"
            )
        return given
    if None in sizes:
        shown = [size or "?" for size in value.shape]
        raise fail(
            "dynamic-shape",
            f"the input {value.name!r} has open sizes {shown}",
            hint="give them: --input-size 1,3,32,32",
        )
    return tuple(size for size in sizes if size is not None)


class _Translator:
    """Goes through the nodes in order; findings are collected, so that one run names all unsupported nodes."""

    def __init__(self, model: OnnxModel, inputs: tuple[ProgramInput, ...]) -> None:
        self.model, self.inputs = model, inputs
        self.findings: list[Diagnostic] = []
        self.stored = {node.outputs[0] for node in model.nodes if node.op == "ConstantOfShape" and node.outputs}
        self.reads = Counter(name for node in model.nodes for name in node.inputs)
        self.reads.update(model.outputs)
        stored = sum(tensor.numel() for tensor in model.initialisers.values())
        live = {value.name: Live(_reference(value.name), value.shape, value.dtype) for value in inputs}
        by_reference = {value.name: value for value in live.values()}
        self.translation = Translation(by_reference, SPARE_ELEMENTS + 4 * stored, self._is_parameter)
        self.values: dict[str, Value | Broken] = {
            name: Fixed(_path(name, model.initialisers), tensor) for name, tensor in model.initialisers.items()
        }
        self.values |= live

    def run(self, name: str) -> OnnxProgram:
        self._check_opsets()
        for node in self.model.nodes:
            self._node(node)
        if self.findings:
            raise ToolError(*dict.fromkeys(self.findings))
        outputs = tuple(self._output(output) for output in self.model.outputs)
        inputs = tuple(replace(value, name=_reference(value.name)) for value in self.inputs)
        leaves = [entry[1] for entry in self.translation.leaves.values()]
        program = Program(name, inputs, tuple(leaves), tuple(self.translation.calls), outputs)
        return OnnxProgram(program, self._grids())

    def _check_opsets(self) -> None:
        version = self.model.opsets.get("", OLDEST_OPSET)
        if version > _NO_OPSET:
            raise bad_onnx(f"the model has opset {version}")
        if version < OLDEST_OPSET:
            raise fail(
                "unsupported-op",
                f"the model has opset {version}; at least {OLDEST_OPSET} is expected",
                hint="convert it: onnx.version_converter.convert_version(model, 18)",
            )

    def _is_parameter(self, path: str) -> bool:
        """True for stored floats; a file does not say which of them were trained."""
        found = self.model.initialisers.get(path)
        if found is None and path.endswith(".bias"):
            found = self.model.initialisers.get(f"{path.removesuffix('.bias')}.weight_bias")
        return path in self.stored if found is None else found.is_floating_point()

    def _node(self, node: OnnxNode) -> None:
        for output in node.outputs:
            if output and output in self.values:
                raise bad_onnx(f"the value {output[:80]!r} is defined twice", node.loc)
        operands = [self._operand(node, name) for name in node.inputs]
        if any(isinstance(operand, Broken) for operand in operands):
            results: tuple[Value | Broken, ...] = (Broken(),) * len(node.outputs)
        else:
            results = self._translated(node, tuple(op for op in operands if not isinstance(op, Broken)))
        for output, value in zip(node.outputs, results, strict=False):
            if output:
                self.values[output] = value

    def _operand(self, node: OnnxNode, name: str) -> Value | Broken | None:
        if not name:
            return None
        if name not in self.values:
            raise bad_onnx(f"{node.op} reads the value {name[:80]!r}, which no node before it defines", node.loc)
        return self.values[name]

    def _translated(self, node: OnnxNode, operands: tuple[Value | None, ...]) -> tuple[Value | Broken, ...]:
        """What the node's rule makes of it; Broken if the node is not supported."""
        first_call = len(self.translation.calls)
        try:
            entry, version = self._entry(node)
            at = At(node, version, operands, self.translation)
            result = entry.rule(at)
            at.check_all_read()
            results = result if isinstance(result, tuple) else (result,)
            unknown = [name for name in node.outputs[len(results) :] if name and self.reads[name]]
            if unknown:
                raise at.unsupported(f"its output {unknown[0][:80]!r} is used", "use only its first output")
        except ToolError as error:
            if any(finding.slug != "unsupported-op" for finding in error.diagnostics):
                raise
            self.findings += error.diagnostics
            return (Broken(),) * len(node.outputs)
        if node.is_layer is None:
            self._name_parts(first_call)
        return results

    def _name_parts(self, first_call: int) -> None:
        """A node that became several calls is a module of them."""
        calls = self.translation.calls
        if len(calls) - first_call > 1:
            calls[first_call:] = [replace(call, is_layer=False) for call in calls[first_call:]]

    def _entry(self, node: OnnxNode) -> tuple[Entry, int]:
        """The rule for the version of the operation that the model's opset has."""
        known = TABLE.get(node.domain, {})
        name = f"{node.domain}.{node.op}" if node.domain else node.op
        if node.op not in known:
            hint = HINTS.get(node.op) or known_names(node.op[:80], STANDARD)
            raise fail("unsupported-op", f"{name[:160]} is not supported", node.loc, hint)
        version = self._version(node)
        if version not in known[node.op].versions:
            versions = ", ".join(map(str, known[node.op].versions))
            raise fail(
                "unsupported-op",
                f"{name} of opset {version} is not supported; known are {versions}",
                node.loc,
                "export with opset 11 to 21, or convert: onnx.version_converter.convert_version(model, 18)",
            )
        return known[node.op], version

    def _version(self, node: OnnxNode) -> int:
        """The opset in which the operation became what the model means."""
        if node.domain:
            return min(max(self.model.opsets.get(node.domain, 1), 1), 2) if node.domain != "com.microsoft" else 13
        from onnx.defs import SchemaError, get_schema  # noqa: PLC0415  # an extra

        opset = self.model.opsets.get("", OLDEST_OPSET)
        try:
            return int(get_schema(node.op, opset, "").since_version)
        except SchemaError:
            raise fail(
                "unsupported-op", f"{node.op} does not exist in opset {opset}", node.loc, "export the model again"
            ) from None

    def _output(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            raise bad_onnx(f"the output {name[:80]!r} is not defined")
        assert not isinstance(value, Broken)
        if isinstance(value, Live) and value.codes is not None:
            raise fail(
                "unsupported-op",
                f"the output {name[:80]!r} are codes of QuantizeLinear",
                hint="end the model with DequantizeLinear",
            )
        return self.translation.ref(value).name

    def _grids(self) -> dict[int, Grid]:
        values = [value for value, _ in self.translation.leaves.values()]
        return {
            value.data.data_ptr(): Grid(value.data, value.scale)
            for value in values
            if value.scale is not None and _is_float32(value.data)
        }


def _path(name: str, known: Collection[str]) -> str:
    """What an initialiser is called; torch's exporter calls the bias of a folded batch norm `conv.weight_bias`."""
    bias = f"{name.removesuffix('.weight_bias')}.bias"
    return bias if name.endswith(".weight_bias") and bias not in known else name


def _reference(name: str) -> str:
    """What the program calls an input: its name, unless that looks like one of our own."""
    return f"{name}_" if name.startswith(("value", "leaf")) else name


def _is_float32(data: Tensor) -> bool:
    return data.dtype == torch.float32
