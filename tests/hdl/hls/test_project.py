from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitkiln.hdl.golden_codes import drawn_samples, golden_codes
from bitkiln.hdl.hls import BenchImages, Dialect, HlsOptions, checked_types, hls_bundle
from bitkiln.hdl.toolchain import CXX
from bitkiln.ir import Location, Plan, ToolError
from tests.hdl.tcl_check import check_tcl
from tests.hdl.tcl_commands import VITIS_HLS

from .networks import two_layers


def images(plan: Plan, count: int) -> BenchImages:
    return BenchImages(*golden_codes(plan, drawn_samples(plan.graph, count, seed=1)), "Random images")


def test_files() -> None:
    plan = two_layers()
    bundle = hls_bundle(plan, images=images(plan, 2))
    assert bundle.paths == (
        "Makefile",
        "csim/ap_axi_sdata.h",
        "csim/ap_int.h",
        "csim/hls_stream.h",
        "csim/library.cpp",
        "hls_config.cfg",
        "names.json",
        "plan.json",
        "run_hls.tcl",
        "src/bitkiln.h",
        "src/dialect.h",
        *sorted(f"src/kernels/{name.replace('.', '_')}.h" for name in (stage.name for stage in plan.stages)),
        "src/two_layers_top.cpp",
        "src/two_layers_top.h",
        *sorted(f"src/weights/{name}.h" for name in ("fc1", "fc2")),
        "tb/images.h",
        "tb/testbench.cpp",
    )
    assert bundle == hls_bundle(two_layers(), images=images(plan, 2))


def test_a_kernel_says_what_it_is() -> None:
    text = hls_bundle(two_layers())["src/kernels/fc2.h"].decode()
    assert text.startswith(
        "// fc2, model.py:7 (fc2)\n"
        "// [4 x 6] by vector, integer weights of 4 bits;\n"
        "// 2 rows and 3 columns at a time: 4 cycles an image\n"
        "\n"
        '#include "../weights/fc2.h"\n'
    )
    assert "                sum += x.lane[s] * weight[p * 3 + s];\n" in text


def test_a_place_in_the_model_does_not_end_its_comment() -> None:
    plan = two_layers()
    stages = tuple(replace(stage, loc=Location("C:\\model\n\\", 0, "")) for stage in plan.stages)
    text = hls_bundle(replace(plan, stages=stages))["src/kernels/fc2.h"].decode()
    assert text.startswith("// fc2, C: model\n// [4 x 6] by vector")


def test_a_part_that_is_no_word() -> None:
    with pytest.raises(ToolError) as caught:
        HlsOptions(part="xc7z020]; exit")
    assert str(caught.value) == (
        "error[bad-value]: A part is letters, digits and dashes, e.g. xc7z020clg400-1, not 'xc7z020]; exit'"
    )


def test_names_that_are_none_in_cpp_are_mapped() -> None:
    bundle = hls_bundle(two_layers("class", "3.output"))
    names = json.loads(bundle["names.json"])
    assert names["top"] == "two_layers_top"
    assert names["kernels"]["class"] == "class_2"
    assert names["kernels"]["3.output"] == "n_3_output"
    assert set(names["changed"]) >= {"class", "3.output"}
    assert "src/kernels/class_2.h" in bundle.paths
    assert "static void class_2(" in bundle["src/kernels/class_2.h"].decode()


@pytest.mark.tools("c++")
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_makefile_runs_the_test_bench(tmp_path: Path) -> None:
    """It passes, and fails once a result in it is another."""
    plan = two_layers("class", "3.output")
    folder = hls_bundle(plan, images=images(plan, 3)).write(tmp_path / "hls")
    # Not as a part of the make that may run the tests: then it would say which folder it enters and leaves.
    command = ("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "CXXFLAGS=-O0")
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "3 images, 0 wrong words"
    assert run.stderr == ""
    file = folder / "tb" / "images.h"
    before, declaration, results = file.read_text().partition("RESULTS")
    first = re.search(r"0x[0-9a-f]+", results)
    assert first
    file.write_text(before + declaration + results.replace(first[0], hex(int(first[0], 16) ^ 1), 1))
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert run.stdout.splitlines()[-1] == "3 images, 1 wrong words"


def test_ap_types_without_the_headers(tmp_path: Path) -> None:
    (tmp_path / "ap_int.h").write_text("")
    with pytest.raises(ToolError) as caught:
        checked_types(Dialect.VITIS, tmp_path)
    assert str(caught.value) == (
        f"error[no-ap-types]: {tmp_path} does not hold hls_stream.h\n"
        "  help: name the folder that holds ap_int.h and hls_stream.h, e.g. that of the hls4ml 1.3.0 wheel"
    )


def test_a_dialect_is_one_header() -> None:
    """Kernels, weights and the top function are the same for every tool."""
    plan = two_layers()
    vitis = dict(hls_bundle(plan).files)
    catapult = dict(hls_bundle(plan, HlsOptions(Dialect.CATAPULT)).files)
    differing = {path for path in vitis.keys() & catapult.keys() if vitis[path] != catapult[path]}
    assert differing == {"Makefile", "src/dialect.h"}
    assert catapult.keys() < vitis.keys()


def test_big_matrices_are_also_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bitkiln.hdl.hls.project.BIG_WEIGHTS", 72)
    plan = two_layers()
    folder = hls_bundle(plan).write(tmp_path / "hls")
    (unit,) = (stage.unit for stage in plan.stages if stage.name == "fc1")
    assert np.load(folder / "weights" / "fc1.npy").tolist() == unit.weights.tolist()  # type: ignore[attr-defined]  # a matrix
    assert not (folder / "weights" / "fc2.npy").exists()


def test_the_tcl_calls_vitis_hls(tmp_path: Path) -> None:
    plan = two_layers()
    folder = hls_bundle(plan, images=images(plan, 1)).write(tmp_path / "hls")
    calls = check_tcl(folder / "run_hls.tcl", VITIS_HLS, arguments=("csim", "csynth"))
    assert ("add_files", "-tb", f"{folder}/tb/testbench.cpp", "-cflags", "-std=c++17") in calls
    assert [call[0] for call in calls if call[0].endswith("_design")] == ["csim_design", "csynth_design"]


def test_without_images_there_is_no_test_bench(tmp_path: Path) -> None:
    bundle = hls_bundle(two_layers())
    assert [path for path in bundle.paths if path.startswith("tb/")] == []
    assert [path for path in ("Makefile", "hls_config.cfg", "run_hls.tcl") if b"testbench" in bundle[path]] == []


@pytest.mark.tools("c++")
def test_the_pragmas_as_vitis_sees_them(tmp_path: Path) -> None:
    """`__SYNTHESIS__` is what tells the tool's compiler from that of C simulation."""
    folder = hls_bundle(two_layers()).write(tmp_path / "hls")
    arguments = ("-std=c++17", "-E", "-P", "-D__SYNTHESIS__", "-Icsim", "src/two_layers_top.cpp")
    lines = [line.strip() for line in CXX.run(arguments, folder).log.splitlines()]
    pragmas = {line for line in lines if line.startswith("#pragma HLS")}
    assert pragmas >= {
        "#pragma HLS interface mode=axis port=input",
        "#pragma HLS interface mode=axis port=output",
        "#pragma HLS interface mode=s_axilite port=images bundle=control",
        "#pragma HLS interface mode=s_axilite port=return bundle=control",
        "#pragma HLS dataflow",
        "#pragma HLS inline",
        "#pragma HLS pipeline II=1",
        "#pragma HLS unroll",
        "#pragma HLS array_partition variable=accumulator type=complete dim=0",
        "#pragma HLS array_partition variable=fc1_weights type=complete dim=2",
    }
    depths = {f"#pragma HLS stream variable={name}_stream depth=" for name in ("input", "fc1", "output")}
    assert all(any(line.startswith(depth) and line.endswith(" type=fifo") for line in pragmas) for depth in depths)
    known = r"#pragma HLS (interface|dataflow|inline|pipeline|unroll|array_partition|bind_storage|stream)\b.*"
    assert [line for line in pragmas if not re.fullmatch(known, line)] == []
    assert len(two_layers().streams) == sum(line.startswith("#pragma HLS stream") for line in pragmas)
