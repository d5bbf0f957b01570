"""Networks of signs in RTL: random ones in Amaranth's simulator, TFC of FINN on MNIST in the compiled harness."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.frontend.onnx_import import import_onnx
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.hdl.verify import golden_codes, verify_plan
from bitkiln.ir.units import MatrixVector, Products
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.hdl.units.rtl_bench import check
from tests.passes.binary_graphs import binary_graph

IMAGES = 3


@pytest.mark.parametrize("seed", range(10))
def test_rtl_equals_the_golden_model(seed: int) -> None:
    graph = binary_graph(seed)
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(-8, 8, (IMAGES, *graph.inputs[0].type.shape[1:]), generator=generator)
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=10 + seed)))
    codes, golden = golden_codes(plan, samples.to(torch.float32))
    check(plan, codes[:, plan.input_order], golden[:, plan.output_order])


@pytest.mark.slow
@pytest.mark.tools("yosys", "c++")
def test_tfc_on_mnist(shared_data: Path, tmp_path: Path) -> None:
    """784-64-64-64-10 with weights and activations of -1 and 1: no multiplier, no wrong bit, no wrong cycle."""
    graph = import_onnx(shared_data / "qonnx" / "TFC_1W1A.onnx")
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=4)))
    assert [stage.unit.products for stage in plan.stages if isinstance(stage.unit, MatrixVector)] == [
        Products.COUNT
    ] * 4
    raw = gzip.decompress((shared_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    images = torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28)[:100].astype(np.float32) / 255)
    found = verify_plan(plan, images, VerifyOptions(images=100), tmp_path)
    assert found.is_exact, found.findings
    assert (found.rtl_latency, found.rtl_interval) == (found.predicted_latency, found.predicted_interval)
