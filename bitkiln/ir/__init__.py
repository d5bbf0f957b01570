"""What to compute and with which hardware: types, ops, Graph, Plan and Diagnostics."""

from .diagnostics import Diagnostic, Location, Severity, ToolError, fail, known_names
from .evaluate import evaluate, evaluate_batches
from .graph import Builder, Const, Graph, Input, Node, check_finite, prune_dead, single_input, verify
from .kiln import decode_kiln, encode_kiln, load_kiln, stored_records
from .numbers import Bipolar, Codebook, Float, Int, Number, Ternary, parse_number
from .plan import Plan, Stage, Stream
from .ranges import code_ranges, exact_dtype, is_quantised, product_range
from .spec import from_plain, to_plain
from .store import KILN_SUFFIX, load_graph, save_graph, write_whole
from .text import parse_graph, print_graph, print_node
from .types import TensorType, parse_type, storage_dtype

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
