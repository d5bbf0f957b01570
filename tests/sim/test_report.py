"""report.json has every key for every run; the page is one well-formed file that fetches nothing and trusts no name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bitkiln.boards import ICEBREAKER
from bitkiln.ir import Builder, Float, Graph, Int, Plan, TensorType, save_graph, storage_dtype
from bitkiln.ir.ops import Linear
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.design import Design
from bitkiln.sim.report import Report, Storage
from bitkiln.sim.report_page import render_html
from bitkiln.sim.technologies import find_technology


def test_json_of_a_whole_run(full: Report, design: Design) -> None:
    found = json.loads(full.to_json())
    assert found["model"] == {
        "name": "tiny",
        "params": 4 * 9 + 4 + 3 * 64 + 3,
        "macs": 4 * 64 * 9 + 3 * 64,
        "input": "f32[1,1,10,10]",
        "output": "f32[1,3]",
    }
    assert found["accuracy"] == {"float": 0.9875, "golden": 0.98, "images": 400}
    assert found["storage"]["dense_bytes"] == 4 * 235
    latency, interval = design.latency_cycles, design.interval_cycles
    assert found["cycles"] == {
        "latency": latency,
        "interval": interval,
        "rtl_latency": latency,
        "rtl_interval": interval,
    }
    assert found["verify"] == {"images": 250, "mismatches": 0, "simulator": "Verilator 5.048"}
    assert found["resources"]["lut"] == {"used": 2112, "available": 5280}
    assert found["resources"]["spram"] == {"used": 0, "available": 4}
    assert (found["fmax_mhz"], found["clock_mhz"], found["board"]) == (21.5, 12.0, "icebreaker")
    assert found["images_per_second"] == pytest.approx(12e6 / interval)
    assert found["link_images_per_second"] == 95.2
    assert found["bitstream"] == {"path": "build/top.bin", "bytes": 104090}
    assert found["energy"]["total_pj"] == pytest.approx(sum(found["energy"]["by_kind"].values()))
    assert list(found["energy"]["by_kind"]) == ["add", "dram", "multiply", "register", "sram"]
    assert found["energy"]["weights_from_dram_pj"] - found["energy"]["total_pj"] == pytest.approx(228 * 8 * 20)
    assert found["energy"]["technology"]["dram"]["source"].startswith("Han et al., EIE")
    assert found["activity"]["macs"] == found["model"]["macs"]


def test_json_of_a_layer(full: Report, plan: Plan) -> None:
    found = json.loads(full.to_json())
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert list(layers) == [stage.name for stage in plan.stages]
    conv = dict(layers["layers.conv1"])
    energy_pj = conv.pop("energy_pj")
    assert energy_pj == pytest.approx(sum(conv.pop("energy_by_kind").values()))
    share = conv.pop("utilisation")
    assert share == pytest.approx(conv["busy_cycles"] / found["cycles"]["interval"])
    assert 0 < share <= 1
    assert conv.pop("queue_depths") == [plan.stream[name].depth for name in plan.stages[1].outputs]
    assert conv.pop("busy_cycles") * conv["multipliers"] == 2304
    assert conv.pop("pe") * conv.pop("simd") == conv.pop("multipliers")
    assert conv.pop("storage") in ("block", "lut")
    assert re.fullmatch(r"u8\.f\d+", conv.pop("number"))
    assert conv == {
        "name": "layers.conv1",
        "op": "conv2d",
        "unit": "matrix_vector",
        "output_shape": [4, 8, 8],
        "params": 40,
        "macs": 2304,
        "weight_bits": 8,
        "weight_memory_bits": 288,
        "place": "model.py:7 (layers.conv1)",
    }
    window = layers["layers.conv1.window"]
    nothing = ("op", "pe", "simd", "storage", "weight_bits")
    assert {key: window[key] for key in nothing} == dict.fromkeys(nothing)
    assert sum(layer["macs"] for layer in layers.values()) == found["model"]["macs"]
    energies = sum(layer["energy_pj"] for layer in layers.values())
    assert energies < found["energy"]["total_pj"]  # the rest is the host link


def test_json_streams_join_the_stages(full: Report, plan: Plan) -> None:
    streams = json.loads(full.to_json())["streams"]
    assert (streams[0]["source"], streams[0]["target"]) == (None, plan.stages[0].name)
    assert [stream["name"] for stream in streams if stream["target"] is None] == [plan.output_stream]
    assert all(1 <= stream["peak"] <= stream["depth"] for stream in streams)


def keys(value: object) -> object:
    """The shape of plain data: the keys, whatever the values."""
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_what_has_not_run_is_null(bare: Report, full: Report) -> None:
    found, whole = json.loads(bare.to_json()), json.loads(full.to_json())
    assert keys(found["model"]) == keys(whole["model"])
    for part in ("accuracy", "cycles", "verify", "bitstream"):
        assert found[part] == dict.fromkeys(whole[part])
    nothing = dict.fromkeys(("dense_bytes", "stored_bytes", "before", "after"))
    assert found["storage"] == whole["storage"] | nothing
    assert found["energy"] == dict.fromkeys(whole["energy"])
    assert [found[key] for key in ("fmax_mhz", "clock_mhz", "images_per_second", "link_images_per_second")] == [
        None
    ] * 4
    assert (found["layers"], found["streams"], found["resources"]) == ([], [], {})
    assert found.keys() == whole.keys()


def test_board_without_a_build_shows_what_there_is(bare: Report) -> None:
    found = json.loads(replace(bare, board=ICEBREAKER).to_json())
    assert found["resources"]["dsp"] == {"used": None, "available": 8}
    assert found["clock_mhz"] == 12.0


def test_same_report_same_bytes(full: Report, plan: Plan) -> None:
    again = replace(full, design=Design.of(plan, dataflow_cycles(plan), find_technology("45nm")))
    assert again.to_json() == full.to_json()
    assert render_html(again) == render_html(full)
    assert full.to_json() == json.dumps(json.loads(full.to_json()), indent=2, sort_keys=True) + "\n"


def test_stored_bytes_are_the_containers(tmp_path: Path) -> None:
    def graph(number: Int | Float) -> Graph:
        build = Builder("g")
        x = build.input("x", TensorType((1, 5), number))
        weight = TensorType((3, 5), number)
        consts = [build.constant("w", weight, torch_zeros(weight))]
        return build.graph((build.add(Linear(), (x, *consts), "y"),))

    small = graph(Int(6))
    save_graph(small, tmp_path / "small.kiln")
    found = Storage.of(graph(Float()), small)
    assert (found.dense_bytes, found.stored_bytes) == (60, (tmp_path / "small.kiln").stat().st_size)


def torch_zeros(type_: TensorType) -> torch.Tensor:
    return torch.zeros(type_.shape, dtype=storage_dtype(type_.number))
