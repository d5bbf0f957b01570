"""The arguments of calls in a `.pt2` file: each is a JSON object whose only key names its kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ._program import Argument, Ref
from ._pt2_archive import DTYPES, bad_pt2, get, whole

_LAYOUTS = {7: torch.strided}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}  # JSON has no numbers for them


def single(entry: object) -> tuple[str, Any]:
    """The name and value of a JSON object with one entry: how the format writes a choice."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise bad_pt2(f"expected an object with one entry in the program's JSON, not {str(entry)[:60]!r}")
    return next(iter(entry.items()))


def read_argument(entry: object) -> Argument:
    """Raises ToolError `bad-pt2` or `dynamic-shape`."""
    kind, value = single(entry)
    if kind not in _READERS:
        raise bad_pt2(f"an argument is {kind} = {str(value)[:60]!r}")
    return _READERS[kind](value)


def known(table: Mapping[int, Any], number: object) -> Any:
    """The entry that a type number stands for."""
    if not isinstance(number, int) or number not in table:
        raise bad_pt2(f"an argument has the unknown type number {str(number)[:20]}")
    return table[number]


def _nothing(value: object) -> Argument:
    return None


def _tensor(value: object) -> Argument:
    return Ref(get(value, "name", str))


def _integer(value: object) -> Argument:
    return get({"as_int": value}, "as_int", int)


def _number(value: object) -> Argument:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_pt2(f"an argument is {str(value)[:60]!r}, which is no number")
    return float(value)


def _flag(value: object) -> Argument:
    return get({"as_bool": value}, "as_bool", bool)


def _text(value: object) -> Argument:
    return get({"as_string": value}, "as_string", str)


def _list_of(reader: Callable[[object], Argument]) -> Callable[[object], Argument]:
    return lambda value: tuple(reader(item) for item in get({"list": value}, "list", list))


def _device(value: object) -> Argument:
    """Everything is computed on the CPU, wherever the model was."""
    return torch.device("cpu")


def _opaque(value: object) -> Argument:
    """Something that no supported operation has: subgraphs, operators, objects."""
    return "something that is no value"


_READERS: Mapping[str, Callable[[object], Argument]] = {
    "as_none": _nothing,
    "as_tensor": _tensor,
    "as_tensors": _list_of(_tensor),
    "as_optional_tensor": read_argument,
    "as_optional_tensors": _list_of(read_argument),
    "as_int": _integer,
    "as_ints": _list_of(_integer),
    "as_sym_int": whole,
    "as_sym_ints": _list_of(whole),
    "as_float": _number,
    "as_floats": _list_of(_number),
    "as_bool": _flag,
    "as_bools": _list_of(_flag),
    "as_string": _text,
    "as_scalar_type": lambda value: known(DTYPES, value),
    "as_layout": lambda value: known(_LAYOUTS, value),
    "as_memory_format": lambda value: known(_MEMORY_FORMATS, value),
    "as_device": _device,
    "as_graph": _opaque,
    "as_operator": _opaque,
    "as_custom_obj": _opaque,
}
