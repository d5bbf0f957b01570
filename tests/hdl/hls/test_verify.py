"""C simulation against the golden model, over every unit and every choice that a unit has."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='random networks need pip install "bitkiln[rtl]"')

from bitkiln.hdl.golden_codes import drawn_samples
from bitkiln.hdl.hls import Dialect, HlsOptions
from bitkiln.hdl.hls.verify import QUICK_COMPILE, check_hls_network, verify_hls
from bitkiln.hdl.random_coverage import coverage, features
from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.hdl.random_plan import random_plan
from bitkiln.ir import ToolError
from bitkiln.ir.units import MatrixVector

from .networks import two_layers

SEEDS = (27, 20, 84, 37, 103, 3, 83, 9)
"""Networks that make use of everything that there is."""

pytestmark = pytest.mark.tools("c++")


@cache
def used(seed: int) -> frozenset[str]:
    network = RandomNetwork.drawn(seed)
    return features(network, random_plan(network))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_code_is_the_golden_models(seed: int) -> None:
    found = check_hls_network(RandomNetwork.drawn(seed))
    assert found.findings == ""
    assert found.features == used(seed)


def test_the_networks_make_use_of_everything() -> None:
    assert [name for name, count in coverage(used(seed) for seed in SEEDS).items() if count == 0] == []


def test_a_wrong_weight_is_found() -> None:
    """The weights of the first matrix of the hardware have the other sign."""
    plan = two_layers()
    place, stage, unit = next(
        (n, stage, stage.unit) for n, stage in enumerate(plan.stages) if isinstance(stage.unit, MatrixVector)
    )
    wrong = replace(stage, unit=replace(unit, weights=-unit.weights))
    stages = (*plan.stages[:place], wrong, *plan.stages[place + 1 :])
    samples = drawn_samples(plan.graph, 4, seed=1)
    assert verify_hls(plan, samples, 4, cxx_flags=QUICK_COMPILE).is_exact
    found = verify_hls(replace(plan, stages=stages), samples, 4, cxx_flags=QUICK_COMPILE)
    assert found.mismatches > 5
    first, *_, more = found.findings.splitlines()
    assert re.fullmatch(r"image 0, element \d: -?\d+, expected -?\d+", first)
    assert more == f"and {found.mismatches - 5} more"


def test_more_images_than_there_are() -> None:
    plan = random_plan(RandomNetwork.drawn(3))
    with pytest.raises(ToolError) as caught:
        verify_hls(plan, drawn_samples(plan.graph, 2, seed=1), 3)
    assert str(caught.value) == (
        "error[too-few-samples]: 3 images are to be verified, but there are only 2 test samples\n"
        "  help: at most images = 2"
    )


def folder_in_hls4ml(name: str) -> Path:
    package = importlib.util.find_spec("hls4ml")
    if not (package and package.origin):
        pytest.skip("the headers of the vendors come with pip install hls4ml==1.3.0")
    return Path(package.origin).parent / "templates" / name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "folder"),
    [(Dialect.VITIS, "vivado/ap_types"), (Dialect.CATAPULT, "catapult/ac_types/include")],
)
def test_with_the_vendors_types(dialect: Dialect, folder: str) -> None:
    options = HlsOptions(dialect, folder_in_hls4ml(folder))
    assert check_hls_network(RandomNetwork.drawn(SEEDS[0]), options).findings == ""


def test_catapult_needs_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGC_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError) as caught:
        check_hls_network(RandomNetwork.drawn(3), HlsOptions(Dialect.CATAPULT))
    assert str(caught.value) == (
        "error[no-ap-types]: ac_int.h and ac_channel.h were not found; looked in "
        f"{tmp_path}/shared/include\n"
        "  help: pip install hls4ml==1.3.0, or name their folder"
    )


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(ToolError) as caught:
        check_hls_network(RandomNetwork.drawn(3))
    assert str(caught.value) == (
        f"error[missing-tool]: c++ was not found: CXX is '{tmp_path}/none', which is not a program\n"
        "  help: install g++ (Debian: apt install g++) or pip install ziglang; or set CXX to the command that runs it"
    )
