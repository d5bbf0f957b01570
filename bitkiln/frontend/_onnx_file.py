"""An .onnx file as plain typed data. Read as protobuf only: the onnx package's C++ checker is not asked, so that a
damaged file ends as a Diagnostic.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bitkiln.ir import Location, ToolError, fail
from bitkiln.ir.types import MAX_ELEMENTS

from ._onnx_tensor import TYPES, read_tensor
from ._places import Site, is_layer, locations, plain_name, plain_text

if TYPE_CHECKING:
    import onnx

MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's own limit; larger weights stand in files beside
MAX_NODES = 200_000

Attribute = int | float | str | Tensor | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One node; an absent input or output has an empty name.

    `scope` and `is_layer` are those of a `Call`; files of other exporters than torch's do not say what is a layer, nor
    `aten`, the call that became this node, maybe among others.
    """

    op: str
    domain: str
    scope: str
    is_layer: bool | None
    aten: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    loc: Location


@dataclass(frozen=True)
class OnnxInput:
    """An input of the model; a size that the file leaves open is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """`opsets` gives the version of each domain; the standard one is called ''."""

    opsets: Mapping[str, int]
    inputs: tuple[OnnxInput, ...]
    initialisers: Mapping[str, Tensor]
    nodes: tuple[OnnxNode, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> OnnxModel:
    """Read a model; raises ToolError `missing-file`, `missing-package`, `bad-onnx` or `unsupported-op`.

    Tensors are kept as they are stored. Those in files beside the model are mapped into memory; such a file must lie
    in the model's folder.
    """
    proto = _parse(path)
    graph = proto.graph
    if len(graph.node) > MAX_NODES:
        raise bad_onnx(f"{path.name} has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    if graph.sparse_initializer:
        raise fail("unsupported-op", f"{path.name} has sparse initialisers", hint="store them as dense tensors")
    initialisers = {tensor.name: read_tensor(tensor, path) for tensor in graph.initializer}
    return OnnxModel(
        {_domain(item.domain): item.version for item in proto.opset_import},
        tuple(_read_input(value) for value in graph.input if value.name not in initialisers),
        initialisers,
        _read_nodes(graph.node, path),
        tuple(value.name for value in graph.output),
    )


def bad_onnx(message: str, loc: Location | None = None) -> ToolError:
    """A file that no exporter can have written."""
    return fail(
        "bad-onnx", message, loc or Location(), "export the model again, and check it with onnx.checker.check_model"
    )


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise fail("missing-file", f"{path} is no file", hint="torch.onnx.export(model, args, path) writes one")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise bad_onnx(f"{path} has {size} bytes; an ONNX file has at most {MAX_FILE_BYTES}")
    package, decode_error = _packages()
    proto: onnx.ModelProto = package.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (decode_error, UnicodeDecodeError, RuntimeError) as error:
        raise bad_onnx(f"{path} is no ONNX model: {str(error)[:200] or type(error).__name__}") from None
    if not _is_text(proto):
        raise bad_onnx(f"{path} is no ONNX model: it has names that are no UTF-8")
    if not proto.graph.output or not proto.opset_import:
        raise bad_onnx(f"{path} is no ONNX model: it has no {'opset' if proto.graph.output else 'output'}")
    return proto


def _is_text(message: Any) -> bool:
    """True if all texts of a message are: protobuf gives bytes where they are not, and does not complain."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING and not isinstance(value, str):
            if isinstance(value, bytes) or any(isinstance(text, bytes) for text in value):
                return False
        elif field.type == field.TYPE_MESSAGE:
            parts = [value] if hasattr(value, "ListFields") else value
            if not all(map(_is_text, parts)):
                return False
    return True


def _packages() -> tuple[Any, type[Exception]]:
    """The onnx package and protobuf's error; a base install has neither."""
    try:
        import onnx  # noqa: PLC0415  # an extra, and a quarter of a second
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ModuleNotFoundError as error:
        hint = 'pip install "bitkiln[onnx]"'
        raise fail("missing-package", f"the Python package {error.name} is not installed", hint=hint) from None
    return onnx, DecodeError


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _read_input(value: onnx.ValueInfoProto) -> OnnxInput:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise fail(
            "dynamic-shape", f"the input {value.name!r} is no tensor of known rank", hint="export with a sample input"
        )
    if kind.elem_type not in TYPES:
        raise fail("wrong-dtype", f"the input {value.name!r} has the element type {kind.elem_type}, expected float32")
    # Some exporters write 0 or -1 for a size that they leave open.
    shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
    if math.prod(size for size in shape if size is not None) > MAX_ELEMENTS:
        raise bad_onnx(f"the input {value.name[:80]!r} has the shape {list(shape)}")
    return OnnxInput(value.name, shape, TYPES[kind.elem_type])


def _read_nodes(protos: Any, path: Path) -> tuple[OnnxNode, ...]:
    sites = [_site(proto) for proto in protos]
    from_torch = any(site.target for site in sites)
    if from_torch:
        sites = _completed(protos, sites)
    places = zip(protos, sites, locations(sites, None), strict=True)
    return tuple(_read_node(proto, site if from_torch else None, loc, path) for proto, site, loc in places)


def _read_node(proto: onnx.NodeProto, site: Site | None, torch_loc: Location, path: Path) -> OnnxNode:
    """Only torch's exporter records modules and lines; the nodes of other files have their own names."""
    called = (proto.name or next(iter(proto.output), "") or proto.op_type).strip("/").replace("/", ".")
    own_loc = Location(plain_text(path.name), 0, plain_text(called))
    return OnnxNode(
        proto.op_type,
        _domain(proto.domain),
        _scope(proto, site) if site else plain_name(called),
        is_layer(site) if site else None,
        site.target if site else "",
        tuple(proto.input),
        tuple(proto.output),
        {item.name: _read_attribute(item, path, own_loc) for item in proto.attribute},
        torch_loc if torch_loc.file else own_loc,
    )


def _scope(proto: onnx.NodeProto, site: Site) -> str:
    """The path of the module, empty for the whole model. The exporter folds batch norm into the layer before it, and
    then says that the layer is the batch norm: its weights know better."""
    weight = proto.input[1] if len(proto.input) > 1 else ""
    is_weighted = proto.op_type in ("Conv", "ConvTranspose", "Gemm") and weight.endswith(".weight")
    path = weight.removesuffix(".weight") if is_weighted and is_layer(site) else site.module
    return plain_name(path) if path else ""


def _completed(protos: Any, sites: list[Site]) -> list[Site]:
    """The sites, with a module for the nodes that the exporter made up: the innermost one around all their users."""
    found = list(sites)
    users: dict[str, list[str]] = {}
    for i in reversed(range(len(found))):
        around = [module for name in protos[i].output for module in users.get(name, ())]
        if not found[i].target and around:
            found[i] = Site("", module=_common_module(around))
        for name in protos[i].input:
            users.setdefault(name, []).append(found[i].module)
    return found


def _common_module(modules: Sequence[str]) -> str:
    parts = [module.split(".") for module in modules]
    common = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return ".".join(level[0] for level in common)


_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


def _site(proto: onnx.NodeProto) -> Site:
    """What torch's exporter wrote down about where a node comes from."""
    notes = {item.key.removeprefix("pkg.torch.onnx."): item.value for item in proto.metadata_props}
    scopes = _QUOTED.findall(notes.get("name_scopes", ""))
    classes = _QUOTED.findall(notes.get("class_hierarchy", ""))
    if len(scopes) < 2 or len(classes) < 2:
        return Site("")
    return Site(classes[-1], notes.get("stack_trace", ""), scopes[-2], classes[-2])


def _read_attribute(proto: onnx.AttributeProto, path: Path, loc: Location) -> Attribute:
    """One attribute; a subgraph (control flow) or another kind that no supported operation has is refused."""
    match proto.type:
        case 1 if math.isfinite(proto.f):
            return proto.f
        case 2:
            return proto.i
        case 3:
            return proto.s.decode("utf-8", "replace")
        case 4:
            return read_tensor(proto.t, path)
        case 6 if all(map(math.isfinite, proto.floats)):
            return tuple(proto.floats)
        case 7:
            return tuple(proto.ints)
        case 8:
            return tuple(text.decode("utf-8", "replace") for text in proto.strings)
        case 1 | 6:
            raise bad_onnx(f"the attribute {proto.name!r} is not finite", loc)
        case 5 | 10:
            hint = "export the model with a fixed path of execution"
            raise fail("unsupported-op", "control flow (Loop, If, Scan) is not supported", loc, hint)
        case other:
            raise bad_onnx(f"the attribute {proto.name!r} has the kind {other}", loc)
