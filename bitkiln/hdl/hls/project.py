"""An HLS project of a Plan: a kernel for each unit, a top function, a test bench, and what builds them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitkiln.hdl.bundle import Bundle
from bitkiln.hdl.plan_summary import plan_summary
from bitkiln.hdl.rendering import plain_text, rendered
from bitkiln.ir import Plan, Stage, Stream, fail
from bitkiln.ir.units import Fork, MatrixVector, SparseMatrixVector

from ._kernel import Kernel, Ports, beat_type
from .dialect import Dialect
from .kernels import check_kernels, kernel_of
from .names import identifiers
from .port import Port, Words

PART = "xc7z020clg400-1"
STANDARD = "-std=c++17"
FLAGS = ("-O3",)
WARNINGS = ("-Wall", "-Wextra", "-Werror")
VENDOR_WARNINGS = ("-Wno-uninitialized",)
"""With a vendor's types: their constructors read what they then set, and once inlined that is our line."""

CSIM_HEADERS = ("ap_int.h", "hls_stream.h", "ap_axi_sdata.h")
BIG_WEIGHTS = 4096
"""Matrices of so many weights are also stored as .npy."""

PIPELINE_PLACES = 16
"""More places behind a fork than the Plan has: what a tool's pipelines may hold back in branches that meet again."""


@dataclass(frozen=True)
class HlsOptions:
    """For which tool, with whose types in C simulation (None: our own), and on which AMD part it is synthesised."""

    dialect: Dialect = Dialect.VITIS
    ap_types: Path | None = None
    part: str = PART

    def __post_init__(self) -> None:
        """Raises `bad-value` for a part that is no word: it stands in scripts."""
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.part):
            raise fail("bad-value", f"A part is letters, digits and dashes, e.g. {PART}, not {self.part!r}")


DEFAULT_OPTIONS = HlsOptions()


@dataclass(frozen=True, eq=False)
class BenchImages:
    """What the test bench streams: codes that go in, codes that must come out, both [images, elements] in the graph's
    order, and a line on where they come from.
    """

    inputs: NDArray[np.int64]
    results: NDArray[np.int64]
    source: str


@dataclass(frozen=True, eq=False)
class _Names:
    """The C++ names of a plan's top function, stages and streams."""

    plan: Plan
    top: str
    stages: dict[str, str]
    streams: dict[str, str]

    @classmethod
    def of(cls, plan: Plan) -> _Names:
        top = f"{plan.graph.name}_top"
        stages, streams = [stage.name for stage in plan.stages], [stream.name for stream in plan.streams]
        found = identifiers([top, *stages], streams)
        return cls(plan, found[top], {name: found[name] for name in stages}, {name: found[name] for name in streams})

    def to_json(self) -> bytes:
        """The C++ name of every name of the plan, and which of them had to be changed."""
        changed = sorted({name for names in (self.stages, self.streams) for name, cpp in names.items() if name != cpp})
        plain = {"top": self.top, "kernels": self.stages, "streams": self.streams, "changed": changed}
        return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode()


def hls_bundle(plan: Plan, options: HlsOptions = DEFAULT_OPTIONS, images: BenchImages | None = None) -> Bundle:
    """Return the HLS project of `plan`; the same arguments give the same bytes.

    With `images` it has a test bench. Raises ToolError `no-kernel`.
    """
    check_kernels(plan)
    names = _Names.of(plan)
    files = _plain_files(options.dialect)
    for stage in plan.stages:
        files |= _stage_files(stage, names)
    first, last = Port.of(plan.stream[plan.input_stream]), Port.of(plan.stream[plan.output_stream])
    values = _top_values(plan, names, first, last)
    files[f"src/{names.top}.h"] = rendered("hls/top.h.j2", values)
    files[f"src/{names.top}.cpp"] = rendered("hls/top.cpp.j2", values)
    files["csim/library.cpp"] = rendered("hls/library.cpp.j2", values)
    files |= _scripts(plan, names, options, has_bench=images is not None)
    if images:
        given, results = images.inputs[:, plan.input_order], images.results[:, plan.output_order]
        rows = {"inputs": _rows(first.pack(given)), "results": _rows(last.pack(results))}
        values |= rows | {"count": len(given), "source": _one_line(images.source)}
        files["tb/testbench.cpp"] = rendered("hls/testbench.cpp.j2", values)
        files["tb/images.h"] = rendered("hls/images.h.j2", values)
    binary = {path: text.encode() for path, text in files.items()}
    binary["names.json"] = names.to_json()
    binary["plan.json"] = (json.dumps(plan_summary(plan), indent=1, sort_keys=True) + "\n").encode()
    return Bundle.of(binary | _weight_files(plan, names))


def top_name(plan: Plan) -> str:
    """Return the name of the top function."""
    return _Names.of(plan).top


def _plain_files(dialect: Dialect) -> dict[str, str]:
    files = {
        "src/bitkiln.h": plain_text("hls/bitkiln.h"),
        "src/dialect.h": plain_text(f"hls/dialect/{dialect.value}.h"),
    }
    if dialect.has_own_types:
        files |= {f"csim/{name}": plain_text(f"hls/csim/{name}") for name in CSIM_HEADERS}
    return files


def _stage_files(stage: Stage, names: _Names) -> dict[str, str]:
    name = names.stages[stage.name]
    ports = Ports(
        name,
        tuple(f"{names.streams[stream]}_t" for stream in stage.inputs),
        tuple(f"{names.streams[stream]}_t" for stream in stage.outputs),
    )
    kernel = kernel_of(stage, ports)
    place = f", {stage.loc}" if str(stage.loc) else ""
    values = {
        "stage": stage.name,
        "place": _one_line(place),
        "summary": kernel.summary,
        "name": name,
        "has_constants": bool(kernel.constants),
        "text": kernel.text.rstrip("\n"),
    }
    files = {f"src/kernels/{name}.h": rendered("hls/kernel.h.j2", values)}
    if kernel.constants:
        files[f"src/weights/{name}.h"] = _constants(stage, kernel)
    return files


def _one_line(text: str) -> str:
    """Text that ends with the line of a comment: C++ continues one whose last character is a backslash."""
    return re.sub(r"[\s\\]", " ", text).rstrip()


def _constants(stage: Stage, kernel: Kernel) -> str:
    return f"// Constants of {stage.name}\n\n" + "\n".join(constant.text for constant in kernel.constants)


def _top_values(plan: Plan, names: _Names, first: Port, last: Port) -> dict[str, object]:
    forked = {name for stage in plan.stages if isinstance(stage.unit, Fork) for name in stage.outputs}
    streams = [
        {
            "name": names.streams[stream.name],
            "type": beat_type(stream.beat),
            "depth": stream.depth + (PIPELINE_PLACES if stream.name in forked else 0),
            "comment": _stream_comment(stream),
        }
        for stream in plan.streams
    ]
    stages = [
        {
            "name": names.stages[stage.name],
            "streams": ", ".join(f"{names.streams[name]}_stream" for name in (*stage.inputs, *stage.outputs)),
        }
        for stage in plan.stages
    ]
    beat = first.stream.beat
    return {
        "graph": _one_line(plan.graph.name),
        "top": names.top,
        "input": first,
        "output": last,
        "input_element": f"ap_int<{beat.bits}>" if beat.signed else f"ap_uint<{beat.bits}>",
        "first": names.streams[plan.input_stream],
        "last": names.streams[plan.output_stream],
        "streams": streams,
        "stages": stages,
    }


def _stream_comment(stream: Stream) -> str:
    return f" // {stream.beats:,} an image" + (", 0 for -1" if stream.beat.bipolar else "")


def _scripts(plan: Plan, names: _Names, options: HlsOptions, has_bench: bool) -> dict[str, str]:
    values = {
        "top": names.top,
        "part": options.part,
        "period_ns": f"{1e9 / plan.clock_hz:.3f}",
        "has_bench": has_bench,
        "headers": " and ".join(options.dialect.headers),
        "has_own_types": options.dialect.has_own_types,
        "ap_types": str(options.ap_types or ""),
        "standard": STANDARD,
        "flags": " ".join(FLAGS),
        "warnings": " ".join(WARNINGS),
        "vendor_warnings": " ".join(VENDOR_WARNINGS),
    }
    files = {"Makefile": rendered("hls/Makefile.j2", values)}
    if options.dialect is Dialect.VITIS:
        files["hls_config.cfg"] = rendered("hls/hls_config.cfg.j2", values)
        files["run_hls.tcl"] = rendered("hls/run_hls.tcl.j2", values)
    return files


def _rows(words: Words) -> list[str]:
    return [", ".join(map(hex, row)) for row in words.tolist()]


def _weight_files(plan: Plan, names: _Names) -> dict[str, bytes]:
    """The codes of big matrices, [rows, columns] in the order of the input stream."""
    files = {}
    for stage in plan.stages:
        unit = stage.unit.dense if isinstance(stage.unit, SparseMatrixVector) else stage.unit
        if isinstance(unit, MatrixVector) and unit.weights.size >= BIG_WEIGHTS:
            content = io.BytesIO()
            small = np.int8 if unit.weight_bits <= 8 else np.int16 if unit.weight_bits <= 16 else np.int64
            np.save(content, unit.weights.astype(small))
            files[f"weights/{names.stages[stage.name]}.npy"] = content.getvalue()
    return files
