"""From a float network to RTL by way of training with few bits: the circuit gives what the hardened graph gives."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.frontend.project import load_project
from bitkiln.hdl.verify import golden_codes
from bitkiln.passes import ActivationMethod, Binarise, FakeQuantise, Pass, WeightMethod, harden
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.hdl.units.rtl_bench import check
from tests.passes.digits import digits, digits_context, digits_mlp

METHODS: dict[str, Pass] = {
    "signs": Binarise(input_threshold=0.5),
    "shortcuts": Binarise(input_threshold=0.5, shortcuts=True),
    "ternary": FakeQuantise(WeightMethod.TTQ, activation_bits=2, input_bits=3, output_bits=4),
    "bases": FakeQuantise(WeightMethod.LQ, 2, ActivationMethod.LQ, 2, input_bits=3, output_bits=4),
}


@pytest.mark.parametrize("name", ["signs", "ternary", "bases", pytest.param("shortcuts", marks=pytest.mark.slow)])
def test_rtl_equals_the_hardened_graph(name: str) -> None:
    graph = digits_mlp(width=8)
    hardened = harden(METHODS[name].run(graph, digits_context(graph)))
    plan = size_queues(schedule(hardened, PlanOptions(max_multipliers=16)))
    codes, golden = golden_codes(plan, digits()[0][:2])
    check(plan, codes[:, plan.input_order], golden[:, plan.output_order])


def test_the_recipes_of_examples_can_be_read() -> None:
    files = sorted((Path(__file__).parents[2] / "examples" / "binary").glob("*.toml"))
    recipes = {file.stem: [step.name for step in load_project(file).passes] for file in files}
    assert recipes == {
        "lenet5_4bit": ["quantise", "tune"],
        "lenet5_8bit": ["quantise"],
        "lenet5_ternary": ["fake_quantise", "tune", "harden"],
        "sfc": ["binarise", "tune", "harden"],
        "tfc": ["binarise", "tune", "harden"],
    }
