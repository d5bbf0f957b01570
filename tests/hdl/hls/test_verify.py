"""C simulation against the golden model, over every unit and every choice that a unit has."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
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
from bitkiln.ir.units import UNITS, MatrixVector

from .networks import two_layers

SEED = 3
MANY_UNITS = 23
"""A network with windows, pooling, both kinds of matrices, gates and tables."""

MOST_SEEDS = 150
SAME_IN_CPP = ("graph: ", "plan: ", "queue: ", "packed", "storage", "multiplier", "renewable", "two sets", "skipped")
"""What the same C++ is written for: how large a queue is, what memories and products are made of."""

pytestmark = pytest.mark.tools("c++")


def test_every_unit_and_every_choice_of_it_gives_the_golden_models_codes() -> None:
    """Networks are drawn until all that there is was used; those that use something new are simulated."""
    missing = {name for name in coverage([]) if not any(part in name for part in SAME_IN_CPP)}
    assert {unit.kind for unit in UNITS} <= missing
    for seed in range(1, MOST_SEEDS):
        network = RandomNetwork.drawn(seed)
        try:
            used = features(network, random_plan(network))
        except ToolError:  # nothing that hardware can be made of
            continue
        if used & missing:
            assert (seed, check_hls_network(network).findings) == (seed, "")
            missing -= used
        if not missing:
            return
    assert missing == set()


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


@pytest.mark.parametrize("names", [("size", "INPUT_WORDS"), ("input", "uint64_t")])
def test_names_of_types_and_of_the_projects_constants(names: tuple[str, str]) -> None:
    """`size_t` is the type of a stream, too."""
    plan = two_layers(*names)
    assert verify_hls(plan, drawn_samples(plan.graph, 4, seed=1), 4, cxx_flags=QUICK_COMPILE).is_exact


def test_more_images_than_there_are() -> None:
    plan = random_plan(RandomNetwork.drawn(SEED))
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
    """Optimised, since compilers then see more of what the headers do, and warn of it."""
    plan = random_plan(RandomNetwork.drawn(MANY_UNITS))
    options = HlsOptions(dialect, folder_in_hls4ml(folder))
    assert verify_hls(plan, drawn_samples(plan.graph, 4, seed=1), 4, options).is_exact


def test_catapult_needs_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGC_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError) as caught:
        check_hls_network(RandomNetwork.drawn(SEED), HlsOptions(Dialect.CATAPULT))
    assert str(caught.value) == (
        "error[no-ap-types]: ac_int.h and ac_channel.h were not found; looked in "
        f"{tmp_path}/shared/include\n"
        "  help: pip install hls4ml==1.3.0, or name their folder"
    )


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(ToolError) as caught:
        check_hls_network(RandomNetwork.drawn(SEED))
    assert str(caught.value) == (
        f"error[missing-tool]: c++ was not found: CXX is '{tmp_path}/none', which is not a program\n"
        "  help: install g++ (Debian: apt install g++) or pip install ziglang; or set CXX to the command that runs it"
    )
