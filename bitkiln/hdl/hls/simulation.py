"""C simulation: the project's library, compiled by the system's C++ compiler, called with arrays."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitkiln.hdl._artefacts import built, default_cache_folder
from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.toolchain import CXX
from bitkiln.ir import Plan, fail

from .dialect import Dialect, found_types
from .port import Port
from .project import (
    DEFAULT_OPTIONS,
    FLAGS,
    STANDARD,
    VENDOR_WARNINGS,
    WARNINGS,
    HlsOptions,
    hls_bundle,
    top_name,
)

Codes = NDArray[np.int64]


class HlsSimulation:
    """The C simulation of a plan, compiled once.

    The library is kept in `cache_folder` (default: ~/.cache/bitkiln/sim). Raises `no-kernel`, `no-ap-types`,
    `missing-tool`, `tool-failed` and `cannot-write`.

        results = HlsSimulation(plan).run(codes)
    """

    def __init__(
        self,
        plan: Plan,
        options: HlsOptions = DEFAULT_OPTIONS,
        *,
        cache_folder: Path | None = None,
        cxx_flags: tuple[str, ...] = FLAGS,
    ) -> None:
        self.plan = plan
        self.input, self.output = Port.of(plan.stream[plan.input_stream]), Port.of(plan.stream[plan.output_stream])
        library = compiled(hls_bundle(plan, options), top_name(plan), options, cache_folder, cxx_flags)
        self._simulate = ctypes.CDLL(str(library)).bitkiln_simulate
        self._simulate.restype = ctypes.c_long

    def run(self, codes: Codes) -> Codes:
        """Return the codes that come out for codes that go in, both [images, elements] in the graph's order."""
        given = self.input.pack(codes[:, self.plan.input_order])
        results = np.zeros((len(codes), self.output.words), f"<u{self.output.bits // 8}")
        surplus = self._simulate(
            ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(results.ctypes.data), ctypes.c_long(len(codes))
        )
        if surplus:
            raise fail("surplus-output", f"the C simulation gave {surplus} words more than the plan says")
        streamed = self.output.unpack(results).reshape(len(codes), -1)
        found = np.empty_like(streamed)
        found[:, self.plan.output_order] = streamed
        return found


def simulate_hls(plan: Plan, codes: Codes, options: HlsOptions = DEFAULT_OPTIONS) -> Codes:
    """Compile the plan's HLS C++ and return what it gives for `codes`, both [images, elements] in the graph's order."""
    return HlsSimulation(plan, options).run(codes)


def compiled(
    bundle: Bundle, top: str, options: HlsOptions, cache_folder: Path | None, cxx_flags: tuple[str, ...]
) -> Path:
    """Return the shared library of a project, as `make library` builds it."""
    types = options.ap_types
    if types is None and not options.dialect.has_own_types:
        types = found_types(options.dialect)
    includes = ("-Icsim",) if types is None else (*VENDOR_WARNINGS, "-isystem", str(types))
    if types is not None and options.dialect is Dialect.VITIS:
        includes = (*includes, "-isystem", "csim")
    arguments = (STANDARD, *cxx_flags, *WARNINGS, *includes, "-shared", "-fPIC")

    def build(folder: Path) -> Path:
        CXX.run((*arguments, "csim/library.cpp", f"src/{top}.cpp", "-o", "library.so"), folder)
        return folder / "library.so"

    return built(cache_folder or default_cache_folder(), bundle, (*arguments, CXX.version()), ".so", build)
