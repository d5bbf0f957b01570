"""`bitkiln simulate -a`: graphs, models and topologies in, a table, JSON or CSV out, and one message for a mistake."""

from __future__ import annotations

import csv
import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from bitkiln.cli import main
from bitkiln.ir import Graph, save_graph
from bitkiln.ir.ops import MaxPool2d, Relu, Reshape
from bitkiln.passes import Quantise
from tests.passes.networks import Network, context
from tests.sim.networks import ALEXNET_TOPOLOGY

MODEL = """
import torch

def build(width=4):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(width * 64, 10)
    )
"""


@pytest.fixture
def alexnet(tmp_path: Path) -> Path:
    path = tmp_path / "alexnet.csv"
    path.write_text(ALEXNET_TOPOLOGY)
    return path


@pytest.fixture(scope="module")
def float_graph() -> Graph:
    network = Network((1, 10, 10))
    x = network.op(Relu(), network.conv(network.x, 4, "conv1"), name="relu1")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool1")
    x = network.op(Reshape((1, 64)), x, name="flatten")
    return network.graph(network.linear(x, 3, "fc"))


def simulated(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main(["simulate", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said of a mistake; nothing goes to standard output but JSON where that is asked for."""
    assert main(["simulate", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 2 if "--json" in arguments else captured.out == ""
    return captured.err.rstrip("\n")


@pytest.mark.parametrize(("dataflow", "cycles"), [("ws", 1_136_244), ("os", 850_965), ("is", 1_158_210)])
def test_alexnet_topology(capsys: pytest.CaptureFixture[str], alexnet: Path, dataflow: str, cycles: int) -> None:
    found = simulated(capsys, alexnet, "-a", "systolic-32", "--dataflow", dataflow)
    total = found["total"]
    assert total["compute_cycles"] == cycles
    assert total["cycles"] > cycles
    for key in ("energy_pj", "dram_bytes", "sram_bytes"):
        assert total[key] == pytest.approx(sum(layer[key] for layer in found["layers"]))
        assert total[key] > 0
    assert [layer["name"] for layer in found["layers"]] == ["Conv1", "Conv2", "Conv3", "Conv4", "Conv5"]


def test_same_input_same_bytes(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    outputs = set()
    for _ in range(2):
        assert main(["simulate", str(alexnet), "-a", "eyeriss-like", "--json"]) == 0
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1


def test_table_for_a_person(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    assert main(["simulate", str(alexnet), "-a", "systolic-32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "alexnet on 32x32 systolic array, 3 x 64 KB"
    columns = "layer MACs compute cycles cycles waits for utilisation energy DRAM bytes SRAM bytes"
    assert " ".join(lines[1].split()) == columns
    assert lines[2].split()[:4] == ["Conv1", "105,415,200", "112,284", "194,075"]
    assert lines[7].startswith("1,342,853 cycles (1,136,244 of computing), 1.343 ms at 1000 MHz, utilisation 58.6%")
    assert lines[9] == "the weights (3,745,824 bytes) do not fit on the chip, which has 65,536 bytes for them"


def test_csv_for_a_spreadsheet(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    assert main(["simulate", str(alexnet), "-a", "tpu-like", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["layer"] for row in rows] == ["Conv1", "Conv2", "Conv3", "Conv4", "Conv5", "total"]
    for key in ("compute_cycles", "cycles", "macs"):
        assert int(rows[-1][key]) == sum(int(row[key]) for row in rows[:-1])
    assert "filters >" in rows[0]["mapping"] or "> filters" in rows[0]["mapping"]


def test_graph_files_quantised_or_not(capsys: pytest.CaptureFixture[str], tmp_path: Path, float_graph: Graph) -> None:
    path, small = tmp_path / "net.graph", tmp_path / "small.graph"
    save_graph(float_graph, path)
    save_graph(Quantise(weight_bits=4).run(float_graph, context(float_graph)), small)
    before, after = (simulated(capsys, file, "-a", "systolic-32", "--nothing-stays") for file in (path, small))
    assert before["total"]["macs"] == after["total"]["macs"] == float_graph.total_macs
    assert before["weights"]["bytes"] == 228
    assert after["weights"]["bytes"] == 114
    assert after["total"]["dram_bytes"] < before["total"]["dram_bytes"]
    assert before["other_operations"] == {"max_pool2d": 1, "relu": 1, "reshape": 1}


def test_the_generated_hardware(capsys: pytest.CaptureFixture[str], tmp_path: Path, float_graph: Graph) -> None:
    path = tmp_path / "small.graph"
    save_graph(Quantise().run(float_graph, context(float_graph)), path)
    found = simulated(capsys, path, "-a", "dataflow", "--batch", 3)
    alone = simulated(capsys, path, "--max-multipliers", 64)
    assert found["total"]["cycles"] == alone["latency"] + 2 * alone["interval"]
    assert found["total"]["energy_pj"] == pytest.approx(3 * alone["energy_pj"])


def test_a_model_by_its_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    reference = f"{tmp_path}/model.py:build(width=8)"
    found = simulated(capsys, reference, "-a", "tpu-like", "--input-size", "1,3,8,8", "--batch", 2)
    assert found["total"]["macs"] == 2 * (64 * 27 * 8 + 512 * 10)
    assert [layer["place"].rpartition("/")[2] for layer in found["layers"]] != ["", ""]


def test_what_stays_and_what_is_chosen_for(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    options: tuple[tuple[str, ...], ...] = (("--objective", "traffic"), ("--objective", "cycles"))
    traffic, cycles = (
        simulated(capsys, alexnet, "-a", "systolic-32", "--dataflow", "ws", *chosen) for chosen in options
    )
    assert cycles["total"]["cycles"] < traffic["total"]["cycles"]
    assert traffic["total"]["dram_bytes"] < cycles["total"]["dram_bytes"]


def test_technologies(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    names = ("45nm", "45nm@22", "22nm", "eyeriss-relative")
    found = {name: simulated(capsys, alexnet, "-a", "systolic-32", "-t", name) for name in names}
    assert found["45nm@22"]["total"]["energy_pj"] < found["45nm"]["total"]["energy_pj"]
    assert found["eyeriss-relative"]["total"]["energy_pj"] is None
    assert found["eyeriss-relative"]["energy_unit"] == "MAC"
    assert {result["total"]["cycles"] for result in found.values()} == {1_342_853}


def test_ones_own_accelerator(capsys: pytest.CaptureFixture[str], alexnet: Path, tmp_path: Path) -> None:
    text = resources.files("bitkiln.sim").joinpath("accelerators", "systolic-32.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("rows = 32", "rows = 16").replace('name = "systolic-32"', 'name = "mine"'))
    found = simulated(capsys, alexnet, "-a", path)
    assert found["accelerator"] == "mine"
    assert found["total"]["compute_cycles"] == sum(
        -(-taps // 16) * -(-filters // 32) * (2 * 16 + 32 + positions - 2)
        for taps, filters, positions in (
            (363, 96, 3025),
            (2400, 256, 529),
            (2304, 384, 121),
            (3456, 384, 121),
            (3456, 256, 121),
        )
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "-a systolic",
            "error[unknown-accelerator]: there is no accelerator called 'systolic'\n"
            "  help: did you mean systolic-32? Known: dataflow, eie, eyeriss-like, systolic-32, tpu-like, xnor-array, "
            "zero-skip; a path that ends in .toml is read as a description",
        ),
        (
            "-a systolic-32 -t 44nm",
            "error[unknown-technology]: there is no energy table called '44nm'\n"
            "  help: did you mean 45nm? Known: 22nm, 32nm, 45nm, 45nm-cacti, 45nm-eie, 65nm, eyeriss-relative",
        ),
        (
            "-a tpu-like --dataflow os",
            "error[bad-dataflow]: tpu-like has a vector engine; only a systolic array has a choice of dataflow",
        ),
        ("-a systolic-32 --batch 0", "error[bad-value]: --batch must be at least 1, not 0"),
        (
            "-a systolic-32 --json --csv",
            "error[bad-arguments]: the result is either JSON or CSV: leave --json or --csv out",
        ),
        (
            "-a eie",
            "error[unmappable-layer]: eie cannot compute the layer Conv1: it slides a 11x11 kernel; EIE multiplies a "
            "matrix and a vector\n  help: engines that can: systolic, vector, row_stationary, zero_skip",
        ),
        (
            "-a dataflow",
            "error[unmappable-layer]: dataflow cannot compute the layer Conv1: it is generated for a quantised graph, "
            "and this is a layer on its own\n  help: engines that can: systolic, vector, row_stationary, zero_skip",
        ),
    ],
)
def test_mistakes_are_one_message(
    capsys: pytest.CaptureFixture[str], alexnet: Path, arguments: str, message: str
) -> None:
    assert refused(capsys, alexnet, *arguments.split()) == message


def test_mistakes_in_a_topology_name_the_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(ALEXNET_TOPOLOGY.replace("27, 27, 5, 5", "27, -27, 5, 5"))
    assert refused(capsys, path, "-a", "systolic-32").splitlines()[0] == (
        f"error[bad-topology]: {path}, line 3: width must be at least 1, not -27"
    )


def test_an_sram_that_holds_no_tile(capsys: pytest.CaptureFixture[str], alexnet: Path, tmp_path: Path) -> None:
    text = resources.files("bitkiln.sim").joinpath("accelerators", "systolic-32.toml").read_text("utf-8")
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace("capacity_bytes = 65536\nword_bits = 1024", "capacity_bytes = 128\nword_bits = 1024"))
    assert refused(capsys, alexnet, "-a", path) == (
        "error[sram-too-small]: layer Conv1 does not fit on systolic-32 with the smallest tile, one output row of one "
        "filter and one channel: the sram for outputs needs 440 bytes, double buffered, not 128\n"
        "  help: raise capacity_bytes of the sram in the accelerator's file"
    )


def test_missing_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path / "none.csv", "-a", "systolic-32")
    assert message == f"error[missing-file]: cannot read the topology {tmp_path}/none.csv: No such file or directory"
    message = refused(capsys, tmp_path / "none.graph", "-a", "systolic-32")
    assert message.splitlines()[0] == f"error[missing-file]: {tmp_path}/none.graph is no file"


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_a_network_of_torchvision_has_the_size_of_its_images(capsys: pytest.CaptureFixture[str]) -> None:
    found = simulated(capsys, "torchvision:squeezenet1_1", "-a", "tpu-like")
    assert found["total"]["macs"] == 349_151_936
    assert refused(capsys, "torchvision:squeezenet", "-a", "tpu-like").startswith(
        "error[unknown-model]: torchvision has no model 'squeezenet'"
    )


def test_what_compression_saves_is_on_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "fc.csv"
    path.write_text("Layer, M, N, K, Weight density, Activation density\nfc7, 1, 4096, 4096, 0.09, 0.353\n")
    assert main(["simulate", str(path), "-a", "eie"]) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line.split()[-1] for line in lines if line.startswith(("from SRAM", "without zeros", "shared"))]
    assert len(steps) == 3
    assert "32 bits from DRAM cost 6,400 additions of 32 bits" in lines


def test_a_topology_needs_an_accelerator(capsys: pytest.CaptureFixture[str], alexnet: Path) -> None:
    expected = f"error[bad-arguments]: {alexnet} is for described accelerators\n  help: choose one with -a"
    assert refused(capsys, alexnet) == expected
