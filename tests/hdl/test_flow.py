from __future__ import annotations

import pytest

from bitkiln.hdl.cocotb_bench.bitkiln_bench import Xorshift32
from bitkiln.hdl.flow import ALWAYS, Flow
from bitkiln.ir import ToolError


def test_generator_gives_marsaglias_numbers() -> None:
    generator = Xorshift32(1)
    assert [generator.draw() for _ in range(4)] == [270369, 67634689, 2647435461, 307599695]


def test_default_is_always() -> None:
    assert Flow() == ALWAYS == Flow(seed=1, valid_per_256=256, ready_per_256=256)


def test_small_seeds_start_far_apart() -> None:
    assert Flow(seed=1).first_state == 0x9E3779B1
    assert Flow(seed=2).first_state == 0x3C6EF362
    assert Flow(seed=2**32 - 1).first_state != 0


@pytest.mark.parametrize(
    ("seed", "valid", "ready", "message"),
    [
        (0, 256, 256, "error[wrong-flow]: seed must be between 1 and 4294967295, not 0"),
        (2**32, 256, 256, "error[wrong-flow]: seed must be between 1 and 4294967295, not 4294967296"),
        (1, 0, 256, "error[wrong-flow]: valid_per_256 must be between 1 and 256, not 0"),
        (1, 256, 257, "error[wrong-flow]: ready_per_256 must be between 1 and 256, not 257"),
    ],
)
def test_wrong_flow(seed: int, valid: int, ready: int, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        Flow(seed, valid, ready)
    assert str(caught.value) == message
