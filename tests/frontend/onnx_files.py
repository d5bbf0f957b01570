"""Small ONNX files made by hand, and the comparison with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from bitkiln.frontend.onnx_import import import_onnx
from bitkiln.ir import Graph, Location, evaluate

Array = NDArray[Any]
Constants = Mapping[str, Array]


def node(op: str, inputs: str, outputs: str = "y", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by blanks, and `_` is an absent input."""
    names = ["" if name == "_" else name for name in inputs.split()]
    first = outputs.split(maxsplit=1)[0]
    return helper.make_node(op, names, outputs.split(), name=f"{op}_{first}", domain=domain, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None],
    constants: Constants | None = None,
    opset: int = 17,
    outputs: str = "y",
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model with the float input x."""
    kind = onnx.TensorProto.INT64 if nodes[-1].op_type in ("ArgMax", "TopK") else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def write(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def read(proto: onnx.ModelProto, folder: Path) -> Graph:
    return import_onnx(write(proto, folder))


def reference(proto: onnx.ModelProto, x: Tensor) -> list[Array]:
    """What ONNX Runtime computes for one sample, node by node: its optimiser would quantise biases, too."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(result) for result in session.run(None, {"x": x.numpy()})]


def assert_equal_to_reference(proto: onnx.ModelProto, folder: Path, tolerance: float = 1e-5) -> Graph:
    """Import, compare on random samples, return the Graph."""
    graph = read(proto, folder)
    shape = graph.inputs[0].type.shape
    for seed in range(2):
        x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            found = evaluate(graph, x)
        expected = reference(proto, x)
        assert len(found) == len(expected)
        for actual, wanted in zip(found, expected, strict=True):
            assert tuple(actual.shape) == wanted.shape or tuple(actual.shape) == (1, *wanted.shape)
            expected_data = torch.from_numpy(wanted).to(actual.dtype)
            torch.testing.assert_close(actual.reshape(wanted.shape), expected_data, rtol=tolerance, atol=tolerance)
    return graph


def op_names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def is_integer(graph: Graph) -> bool:
    """True if floats occur only before the first quantiser and behind the last sum."""
    floats = {"quantise_scaled", "multi_threshold", "dequantise", "mul", "add", "scale_shift", "reshape"}
    return all(step.op.name in floats for step in graph.nodes if step.type.is_float) and all(
        not graph.types[step.args[0]].is_float
        for step in graph.nodes
        if step.op.name in ("linear", "conv2d", "sum_pool2d")
    )


def anonymous(graph: Graph) -> Graph:
    """The graph with values called after their places, for comparison with one that has other names."""
    names = {value.name: f"x{i}" for i, value in enumerate(graph.inputs)}
    for step in graph.nodes:
        for arg in step.args:
            names.setdefault(arg, f"c{len(names)}")
        names[step.name] = f"v{len(names)}"
    consts = sorted(graph.consts, key=lambda const: int(names[const.name][1:]))
    return Graph(
        "net",
        tuple(replace(value, name=names[value.name]) for value in graph.inputs),
        tuple(replace(const, name=names[const.name]) for const in consts),
        tuple(
            replace(step, name=names[step.name], args=tuple(names[arg] for arg in step.args), loc=Location())
            for step in graph.nodes
        ),
        tuple(names[name] for name in graph.outputs),
    )
