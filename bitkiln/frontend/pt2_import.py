"""The `.pt2` door: programs of torch.export.save, read from their JSON without running or unpickling anything.

The file may hold the program as it was exported or a decomposed one; it goes through the table of the torch door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bitkiln.ir import Graph, Location, ToolError, fail

from ._aten import RULES
from ._check import check_program, overload
from ._functional import functionalise
from ._lower import unsupported
from ._places import Site, is_layer, locations, plain_name
from ._program import Argument, Call, Leaf, Program, ProgramInput, complete
from ._pt2_archive import DTYPES, Archive, bad_pt2, get, whole
from ._pt2_arguments import known, read_argument, single
from ._quant_program import is_quantised_program
from .torch_import import Imported, finish_counting

SCHEMA_MAJOR = 8


def import_pt2(path: Path, name: str = "") -> Graph:
    """Return the canonical Graph of a saved program; its constants are views of the file.

    Raises ToolError `missing-file`, `bad-pt2`, `pickled-tensor`, `dynamic-shape`, `unsupported-op`, ...
    """
    return import_pt2_counting(path, name).graph


def import_pt2_counting(path: Path, name: str = "") -> Imported:
    """Also return what the canonical Graph no longer shows."""
    return finish_counting(read_pt2(path, name or path.stem))


def read_pt2(path: Path, name: str) -> Program:
    """Read and check the program; tensors are views of the file."""
    archive = Archive.open(path)
    models = [member for member in archive.members if member.startswith("models/") and member.endswith(".json")]
    if len(models) != 1:
        raise bad_pt2(f"{path} must hold one program, not {len(models)}")
    model = models[0].removeprefix("models/").removesuffix(".json")
    document = archive.json(models[0])
    major = get(get(document, "schema_version", dict), "major", int)
    if major != SCHEMA_MAJOR:
        raise fail("bad-pt2", f"{path} has schema {major}; schema {SCHEMA_MAJOR} (torch 2.8 to 2.13) is expected")
    module = get(document, "graph_module", dict)
    graph, signature = get(module, "graph", dict), get(module, "signature", dict)
    tensors = archive.tensors("data/weights", f"{model}_weights_config.json")
    tensors |= archive.tensors("data/constants", f"{model}_constants_config.json")
    values = get(graph, "tensor_values", dict)
    inputs, leaves = _read_inputs(get(signature, "input_specs", list), tensors, values)
    program = Program(
        name,
        inputs,
        leaves,
        _read_calls(get(graph, "nodes", list), values),
        _read_outputs(get(signature, "output_specs", list)),
    )
    program = functionalise(program)
    check_program(program)
    _check_supported(program, get(document, "verifiers", list))
    return program


def _check_supported(program: Program, verifiers: list[object]) -> None:
    """Operations that a decomposed program might not have deserve another hint."""
    findings = [] if is_quantised_program(program) else unsupported(program, RULES)
    if findings and "TRAINING" in verifiers:
        hint = "save exported.run_decompositions({}), which has fewer kinds of operations"
        raise ToolError(*(replace(finding, hint=hint) for finding in findings))


def _read_inputs(
    specs: list[object], tensors: Mapping[str, torch.Tensor], values: dict[str, Any]
) -> tuple[tuple[ProgramInput, ...], tuple[Leaf, ...]]:
    inputs: list[ProgramInput] = []
    leaves: list[Leaf] = []
    for spec in specs:
        kind, body = single(spec)
        if kind == "user_input":
            name = get(get(get(body, "arg", dict), "as_tensor", dict), "name", str)
            inputs.append(ProgramInput(name, _shape(values, name), _dtype(values, name)))
            continue
        if kind not in ("parameter", "buffer", "tensor_constant"):
            raise fail("unsupported-op", f"the program holds a {kind}; only tensors can be built")
        path = get(body, f"{kind}_name", str)
        if path not in tensors:
            raise bad_pt2(f"the archive has no tensor for {path}")
        leaves.append(Leaf(get(get(body, "arg", dict), "name", str), path, tensors[path], kind == "parameter"))
    return tuple(inputs), tuple(leaves)


def _read_outputs(specs: list[object]) -> tuple[str, ...]:
    outputs = []
    for spec in specs:
        kind, body = single(spec)
        if kind in ("buffer_mutation", "parameter_mutation"):
            raise fail(
                "state-written",
                f"the model writes its own {body.get('buffer_name') or body.get('parameter_name')}; a network without "
                "state is expected",
                hint="call model.eval() before the export, and keep counters out of forward",
            )
        if kind == "user_output":
            argument, value = single(get(body, "arg", dict))
            if argument != "as_tensor":
                raise fail("constant-output", "an output of the model is a plain number or None, not a tensor")
            outputs.append(get(value, "name", str))
    return tuple(outputs)


def _read_calls(nodes: list[object], values: dict[str, Any]) -> tuple[Call, ...]:
    sites = [_site(node) for node in nodes]
    places = zip(nodes, sites, locations(sites, None), strict=True)
    return tuple(_read_call(node, site, loc, values) for node, site, loc in places)


def _site(node: object) -> Site:
    """`nn_module_stack` is `key,path,class;key,path,class`, outermost first."""
    metadata = get(node, "metadata", dict)
    target = get(node, "target", str).removeprefix("torch.ops.")
    stack, trace = metadata.get("nn_module_stack"), metadata.get("stack_trace")
    innermost = stack.split(";")[-1].split(",") if isinstance(stack, str) else []
    _, path, kind = (*innermost, "", "", "")[:3]
    return Site(target, trace if isinstance(trace, str) else "", path, kind)


def _read_call(node: object, site: Site, loc: Location, values: dict[str, Any]) -> Call:
    given: dict[str, Argument] = {}
    for entry in get(node, "inputs", list):
        given[get(entry, "name", str)] = read_argument(get(entry, "arg", dict))
    results = []
    for entry in get(node, "outputs", list):
        kind, value = single(entry)
        items = value if kind == "as_tensors" and isinstance(value, list) else [value]
        if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
            raise fail("dynamic-shape", f"{site.target} computes with a size that is known only at run time", loc)
        results += [get(item, "name", str) if kind != "as_none" else "" for item in items]
    found = overload(site.target)
    arguments = given if found is None else complete(found._schema, given, loc)
    shapes = tuple(_shape(values, result) if result in values else () for result in results)
    scope = plain_name(site.module) if site.module else ""
    return Call(site.target, scope, is_layer(site), arguments, tuple(results), shapes or ((),), loc)


def _shape(values: dict[str, Any], name: str) -> tuple[int, ...]:
    return tuple(whole(size) for size in get(get(values, name, dict), "sizes", list))


def _dtype(values: dict[str, Any], name: str) -> torch.dtype:
    dtype: torch.dtype = known(DTYPES, get(get(values, name, dict), "dtype", int))
    return dtype
