"""`bitkiln generate hls` and `bitkiln verify --backend hls`."""

from __future__ import annotations

import argparse

import torch

from bitkiln.hdl.golden_codes import drawn_samples, golden_codes, too_few
from bitkiln.hdl.hls import BenchImages, Dialect, HlsOptions, checked_types, found_types, hls_bundle
from bitkiln.ir import Plan, fail, single_input, to_plain

from .datasets import check_shape, read_dataset
from .terminal import Terminal

FALLS_SHORT = 1
FIND_TYPES = "found"
"""What --ap-types stands for without a folder."""


def hls_options(arguments: argparse.Namespace) -> HlsOptions:
    """Return the options that were given. Raises `no-ap-types`."""
    dialect = Dialect(arguments.dialect)
    if arguments.ap_types is None:
        types = None
    elif str(arguments.ap_types) == FIND_TYPES:
        types = found_types(dialect)
    else:
        types = checked_types(dialect, arguments.ap_types)
    return HlsOptions(dialect, types, arguments.part)


def generate_hls(arguments: argparse.Namespace, terminal: Terminal, plan: Plan) -> int:
    """An HLS project in a folder."""
    options = hls_options(arguments)
    bundle = hls_bundle(plan, options, test_images(plan, arguments.data, arguments.images))
    folder = bundle.write(arguments.output, force=arguments.force)
    files = {name: len(bundle[name]) for name in bundle.paths}
    lines = [f"{folder / name}  {size:,} bytes" for name, size in files.items()]
    terminal.result({"folder": str(folder), "files": files, "digest": bundle.digest()}, *lines)
    return 0


def test_images(plan: Plan, data: str | None, count: int) -> BenchImages:
    """Return the first test samples of `data`, or drawn ones without it, with the golden model's results."""
    if count < 1:
        raise fail("bad-value", f"--images must be at least 1, not {count}")
    if data:
        samples = read_dataset(data)
        check_shape(samples, single_input(plan.graph).type.shape[1:])
        x, source = torch.from_numpy(samples.test_x), f"The first test images of {data}"
        too_few(x, count)
    else:
        x, source = drawn_samples(plan.graph, count, seed=1), "Random images"
    return BenchImages(*golden_codes(plan, x[:count]), source)


def verify_hls_command(arguments: argparse.Namespace, terminal: Terminal, plan: Plan) -> int:
    """The C simulation against the golden model."""
    from bitkiln.hdl.hls.verify import verify_hls  # noqa: PLC0415  # random networks need amaranth

    data = read_dataset(arguments.data)
    check_shape(data, single_input(plan.graph).type.shape[1:])
    options = hls_options(arguments)
    with terminal.step("verify"):
        found = verify_hls(
            plan,
            torch.from_numpy(data.test_x),
            arguments.images,
            options,
            on_step=lambda step: terminal.progress(step, 0),
        )
    types = found.ap_types or "our own types"
    line = (
        f"{found.images:,} images in C simulation ({found.dialect.value}, {types}): {found.mismatches:,} of "
        f"{found.codes:,} codes are wrong"
    )
    terminal.result(to_plain(found), line, *([found.findings] if found.findings else []))
    return 0 if found.is_exact else FALLS_SHORT
