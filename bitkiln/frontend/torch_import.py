"""The torch door: an `nn.Module` in evaluation mode through torch.export to a canonical Graph."""

from __future__ import annotations

import inspect
import math
import operator
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.nn.parameter import is_lazy

from bitkiln.ir import Graph, Location, check_finite, fail
from bitkiln.ir.types import MAX_ELEMENTS
from bitkiln.passes.canonicalise import canonicalise

from ._aten import KEPT, RULES
from ._lower import lower_counting, wrong_dtype
from ._order import with_ordered_constants
from ._places import Site, is_layer, locations, plain_name, plain_text
from ._program import Argument, Call, Leaf, Program, ProgramInput, Ref, as_argument, complete
from ._quant_program import is_quantised_program
from ._user_code import UserCode
from .quantised import finish_quantised


@dataclass(frozen=True, eq=False)
class Imported:
    """A network. `params` are the parameters of the model as it was written, `folded_macs` the multiply-accumulates
    that import has done once and for all."""

    graph: Graph
    params: int
    folded_macs: int


def import_module(module: nn.Module, input_shape: tuple[int, ...], name: str, model_file: Path | None = None) -> Graph:
    """Return the canonical Graph of `module` for one sample of `input_shape` (its first size is 1).

    The Graph equals `module` in evaluation mode within rounding, for a batch of any size; its constants are views of
    the module's tensors where they did not have to change. `model_file` is the source that places refer to.
    Raises ToolError `training-mode`, `input-shape`, `many-inputs`, `wrong-dtype`, `model-raised`, `unsupported-op`, ...
    """
    return finish(read_module(module, input_shape, name, model_file))


def read_module(module: nn.Module, input_shape: tuple[int, ...], name: str, model_file: Path | None = None) -> Program:
    """Trace `module` into a program of ATen calls; no weight is read."""
    return read_exported(export_module(module, input_shape, model_file), name, model_file)


def import_program(exported: ExportedProgram, name: str, model_file: Path | None = None) -> Graph:
    """Return the canonical Graph of a program that `torch.export.export` made."""
    with UserCode(model_file):
        decomposed = _decompose(exported)
    return finish(read_exported(decomposed, name, model_file))


def finish(program: Program) -> Graph:
    """Lower a program and bring the Graph to its canonical form."""
    return finish_counting(program).graph


def finish_counting(program: Program) -> Imported:
    """Also keep the numbers that the canonical Graph no longer shows."""
    if is_quantised_program(program):
        graph, folded_macs = finish_quantised(program)
        return Imported(graph, program.parameters, folded_macs)
    graph, folded_macs = lower_counting(program, RULES)
    check_finite(graph)
    return Imported(with_ordered_constants(canonicalise(graph)), program.parameters, folded_macs)


def export_module(module: nn.Module, input_shape: tuple[int, ...], model_file: Path | None = None) -> ExportedProgram:
    """Trace `module` into the operations of the table."""
    _check_module(module, input_shape, plain_text(str(model_file or "")))
    sample = torch.zeros(input_shape)
    with UserCode(model_file, module, input_shape), torch.no_grad():
        return _decompose(torch.export.export(module, (sample,)))


def _decompose(exported: ExportedProgram) -> ExportedProgram:
    table = torch.export.default_decompositions()
    for name in KEPT:
        packet, overload = name.split(".")
        table.pop(getattr(getattr(torch.ops.aten, packet), overload), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own insides here
        decomposed: ExportedProgram = exported.run_decompositions(table)
    return decomposed


def _check_module(module: nn.Module, input_shape: tuple[int, ...], file: str) -> None:
    _check_mode(module, file)
    _check_state(module, file)
    _check_input(module, input_shape, file)


def _check_mode(module: nn.Module, file: str) -> None:
    training = [path or "the model" for path, child in module.named_modules() if child.training]
    if training:
        raise fail(
            "training-mode",
            f"{training[0]} is in training mode" + (f", and {len(training) - 1} more modules" if training[1:] else ""),
            Location(file, 0, training[0]),
            "call model.eval() before returning the model",
        )


def _check_state(module: nn.Module, file: str) -> None:
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        loc = Location(file, 0, path.rpartition(".")[0])
        if is_lazy(tensor):
            hint = "give the layer its sizes, or run the model once on a sample before it is returned"
            raise fail("uninitialised-weights", f"{path} is lazy and has no shape yet", loc, hint)
        if (tensor.is_floating_point() and tensor.dtype != torch.float32) or tensor.is_complex():
            raise wrong_dtype(path, tensor.dtype, loc)


def _check_input(module: nn.Module, input_shape: tuple[int, ...], file: str) -> None:
    if len(input_shape) < 2 or input_shape[0] != 1 or min(input_shape) < 1:
        raise fail(
            "input-shape",
            f"the input shape must be one sample, such as [1, 3, 32, 32], not {list(input_shape)}",
        )
    if math.prod(input_shape) > MAX_ELEMENTS:
        message = f"a sample has at most {MAX_ELEMENTS} values, not {math.prod(input_shape)}: {list(input_shape)}"
        raise fail("input-shape", message)
    parameters = inspect.signature(module.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [item.name for item in parameters if item.kind in positional and item.default is item.empty]
    if len(required) > 1:
        raise fail(
            "many-inputs",
            f"forward takes {len(required)} inputs ({', '.join(required)}); exactly one is expected",
            Location(file),
            hint="wrap the model in a module whose forward takes one tensor",
        )


def read_exported(exported: ExportedProgram, name: str, model_file: Path | None = None) -> Program:
    """Read a decomposed ExportedProgram; tensors are views of its state."""
    signature = exported.graph_signature
    _check_signature(signature)
    nodes = list(exported.graph.nodes)
    inputs, leaves = _read_placeholders(exported, {node.name: node for node in nodes})
    calls = [node for node in nodes if node.op == "call_function" and node.target is not operator.getitem]
    sites = [_site(node) for node in calls]
    places = zip(calls, sites, locations(sites, model_file), strict=True)
    return Program(
        name,
        inputs,
        leaves,
        tuple(_read_call(node, site, loc) for node, site, loc in places),
        tuple(str(output) for output in signature.user_outputs),
    )


def _check_signature(signature: Any) -> None:
    for spec in signature.output_specs:
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
            raise fail(
                "state-written",
                f"the model writes its own {spec.target}; a network without state is expected",
                hint="call model.eval() before the import, and keep counters out of forward",
            )
        if spec.kind == OutputKind.USER_OUTPUT and not isinstance(spec.arg, TensorArgument):
            raise fail("constant-output", "an output of the model is a plain number or None, not a tensor")


def _read_placeholders(
    exported: ExportedProgram, nodes: Mapping[str, Any]
) -> tuple[tuple[ProgramInput, ...], tuple[Leaf, ...]]:
    inputs: list[ProgramInput] = []
    leaves: list[Leaf] = []
    for spec in exported.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            value = nodes[spec.arg.name].meta["val"] if spec.arg.name in nodes else None
            if not isinstance(value, torch.Tensor):
                raise fail("many-inputs", f"the input {spec.arg.name} is no tensor", hint="give it a default value")
            inputs.append(ProgramInput(spec.arg.name, _static(value.shape, Location()), value.dtype))
            continue
        state = exported.state_dict if spec.target in exported.state_dict else exported.constants
        if spec.target is None or not isinstance(state.get(spec.target), torch.Tensor):
            raise fail("unsupported-op", f"the model holds {spec.target}, which is no tensor")
        data = state[spec.target].detach()
        leaves.append(Leaf(spec.arg.name, spec.target, data, spec.kind == InputKind.PARAMETER))
    return tuple(inputs), tuple(leaves)


def _site(node: Any) -> Site:
    stack = node.meta.get("nn_module_stack") or {"": ("", "")}
    path, kind = list(stack.values())[-1]
    return Site(str(node.target), node.meta.get("stack_trace") or "", path, str(kind))


def _read_call(node: Any, site: Site, loc: Location) -> Call:
    schema = getattr(node.target, "_schema", None)
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        raise fail("unsupported-op", f"{site.target} is control flow", loc, "write the model without branches or loops")
    if schema is None:
        raise fail("dynamic-shape", f"{node.name} computes with a size that is known only at run time", loc)
    given = {argument.name: _read_argument(value) for argument, value in zip(schema.arguments, node.args, strict=False)}
    given |= {key: _read_argument(value) for key, value in node.kwargs.items()}
    value = node.meta.get("val")
    users = {user.args[1]: user.name for user in node.users if user.target is operator.getitem}
    if isinstance(value, list | tuple):
        results = tuple(users.get(i, "") for i in range(len(value)))
        shapes = tuple(_static(item.shape, loc) for item in value if item is not None)
    else:
        results, shapes = (node.name,), (_static(value.shape, loc),) if isinstance(value, torch.Tensor) else ((),)
    scope = plain_name(site.module) if site.module else ""
    return Call(site.target, scope, is_layer(site), complete(schema, given, loc), results, shapes, loc)


def _read_argument(value: object) -> Argument:
    if isinstance(value, torch.fx.Node):
        return Ref(value.name)
    if isinstance(value, list | tuple):
        return tuple(_read_argument(item) for item in value)
    return as_argument(value)


def _static(shape: Any, loc: Location) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in shape):
        raise fail(
            "dynamic-shape",
            f"the shape {list(map(str, shape))} is known only at run time",
            loc,
            "export the model without dynamic_shapes, for one fixed input size",
        )
    return tuple(shape)
