"""C++ identifiers for the names of a model: the name itself where it is one, else as near to it as can be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping

# The keywords of C++20 with the alternative tokens, macros that every C++ library defines, and what the generated code
# uses itself.
_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t
    class compl concept const consteval constexpr constinit const_cast continue co_await co_return co_yield
    decltype default delete do double dynamic_cast else enum explicit export extern false float for friend
    goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast requires return short signed sizeof static static_assert
    static_cast struct switch template this thread_local throw true try typedef typeid typename union unsigned
    using virtual void volatile wchar_t while xor xor_eq
"""
_MACROS = "NULL EOF assert errno stdin stdout stderr linux unix"
_OURS = """
    ap_axiu ap_int ap_uint axis_word beat clamped csim hls image images input input_word kernels main
    make_axis_word output output_word power_product read_image std unpack within words_for write_result
"""
RESERVED = frozenset((_KEYWORDS + _MACROS + _OURS).split())

KERNEL_SUFFIXES = ("", "_result", "_weights", "_starts", "_shifts", "_levels", "_bases", "_steps", "_counts", "_table")
STREAM_SUFFIXES = ("_t", "_stream")
"""What the generated code appends to the name of a kernel and of a stream; a stream's name never stands alone."""


def identifiers(kernels: Iterable[str], streams: Iterable[str]) -> Mapping[str, str]:
    """Return a C++ identifier for each name, all different, also with what the generated code appends to them.

    A name that is one already keeps it, unless an earlier name took it. A stream and the kernel of its name share it.
    """
    taken: set[str] = set(RESERVED)
    found: dict[str, str] = {}
    for names, suffixes in ((kernels, KERNEL_SUFFIXES + STREAM_SUFFIXES), (streams, STREAM_SUFFIXES)):
        for name in names:
            if name not in found:
                found[name] = _free(_mangled(name), suffixes, taken)
                taken.update(found[name] + suffix for suffix in suffixes)
    return found


def _free(wanted: str, suffixes: Iterable[str], taken: Collection[str]) -> str:
    """`wanted`, or with the first number behind it that is free."""
    for number in itertools.count(1):
        chosen = wanted if number == 1 else f"{wanted}_{number}"
        if not any(chosen + suffix in taken for suffix in suffixes):
            return chosen
    raise AssertionError(wanted)


def _mangled(name: str) -> str:
    """The name with `_` for what an identifier cannot hold; two in a row and one in front are the compiler's own."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    if not plain or plain[0].isdigit() or plain.upper().startswith(("HLS_", "AP_")):
        return f"n_{plain}".rstrip("_")
    return plain
