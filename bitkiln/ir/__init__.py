"""What to compute and with which hardware: types, ops, Graph, Plan and Diagnostics.

Names are imported when they are first used: readers of `.kiln` files (`bitkiln.ir.coding`) and `bitkiln list` need no
torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .diagnostics import Diagnostic, Location, Severity, ToolError, fail, known_names
    from .golden import evaluate, evaluate_batches
    from .graph import Builder, Const, Graph, Input, Node, check_finite, prune_dead, single_input, verify
    from .kiln import decode_kiln, encode_kiln, encode_with_records, load_kiln, stored_records
    from .numbers import Bipolar, Codebook, Float, Int, Number, Ternary, parse_number
    from .plan import Plan, Stage, Stream
    from .ranges import code_ranges, exact_dtype, is_quantised, product_range
    from .spec import from_plain, to_plain
    from .store import KILN_SUFFIX, load_graph, save_graph, write_whole
    from .text import parse_graph, print_graph, print_node
    from .types import TensorType, parse_type, storage_dtype

_HOME = {
    "Diagnostic": "diagnostics",
    "Location": "diagnostics",
    "Severity": "diagnostics",
    "ToolError": "diagnostics",
    "fail": "diagnostics",
    "known_names": "diagnostics",
    "evaluate": "golden",
    "evaluate_batches": "golden",
    "Builder": "graph",
    "Const": "graph",
    "Graph": "graph",
    "Input": "graph",
    "Node": "graph",
    "check_finite": "graph",
    "prune_dead": "graph",
    "single_input": "graph",
    "verify": "graph",
    "decode_kiln": "kiln",
    "encode_kiln": "kiln",
    "encode_with_records": "kiln",
    "load_kiln": "kiln",
    "stored_records": "kiln",
    "Bipolar": "numbers",
    "Codebook": "numbers",
    "Float": "numbers",
    "Int": "numbers",
    "Number": "numbers",
    "Ternary": "numbers",
    "parse_number": "numbers",
    "Plan": "plan",
    "Stage": "plan",
    "Stream": "plan",
    "code_ranges": "ranges",
    "exact_dtype": "ranges",
    "is_quantised": "ranges",
    "product_range": "ranges",
    "from_plain": "spec",
    "to_plain": "spec",
    "KILN_SUFFIX": "store",
    "load_graph": "store",
    "save_graph": "store",
    "write_whole": "store",
    "parse_graph": "text",
    "print_graph": "text",
    "print_node": "text",
    "TensorType": "types",
    "parse_type": "types",
    "storage_dtype": "types",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'bitkiln.ir' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


__all__ = [
    "KILN_SUFFIX",
    "Bipolar",
    "Builder",
    "Codebook",
    "Const",
    "Diagnostic",
    "Float",
    "Graph",
    "Input",
    "Int",
    "Location",
    "Node",
    "Number",
    "Plan",
    "Severity",
    "Stage",
    "Stream",
    "TensorType",
    "Ternary",
    "ToolError",
    "check_finite",
    "code_ranges",
    "decode_kiln",
    "encode_kiln",
    "encode_with_records",
    "evaluate",
    "evaluate_batches",
    "exact_dtype",
    "fail",
    "from_plain",
    "is_quantised",
    "known_names",
    "load_graph",
    "load_kiln",
    "parse_graph",
    "parse_number",
    "parse_type",
    "print_graph",
    "print_node",
    "product_range",
    "prune_dead",
    "save_graph",
    "single_input",
    "storage_dtype",
    "stored_records",
    "to_plain",
    "verify",
    "write_whole",
]
