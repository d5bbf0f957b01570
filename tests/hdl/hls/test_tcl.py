"""The Tcl of the HLS project calls what Vitis HLS has, with options that it knows, on files that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitkiln.hdl.golden_codes import drawn_samples, golden_codes
from bitkiln.hdl.hls import BenchImages, hls_bundle
from tests.hdl.tcl_check import WrongTclError, check_tcl
from tests.hdl.tcl_commands import VITIS_HLS

from .networks import two_layers

STEPS = ("csim_design", "csynth_design", "cosim_design", "export_design")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script in its project; Vitis runs it there."""
    plan = two_layers()
    images = BenchImages(*golden_codes(plan, drawn_samples(plan.graph, 2, seed=1)), "Random images")
    folder = hls_bundle(plan, images=images).write(tmp_path / "hls")
    monkeypatch.chdir(folder)
    return folder / "run_hls.tcl"


@pytest.mark.parametrize("arguments", [(), ("csynth",), ("csim", "export")])
def test_every_step_is_legal(arguments: tuple[str, ...], script: Path) -> None:
    calls = [call[0] for call in check_tcl(script, VITIS_HLS, arguments=arguments)]
    wanted = [step for step in STEPS if not arguments or step.partition("_")[0] in arguments]
    assert [call for call in calls if call in STEPS] == wanted
    assert calls[-1] == "close_project"


def test_an_unknown_step(script: Path) -> None:
    with pytest.raises(WrongTclError, match="the steps are csim, csynth, cosim and export, not sim"):
        check_tcl(script, VITIS_HLS, arguments=("sim",))
