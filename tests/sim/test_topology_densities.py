"""Columns of densities in topology files."""

from __future__ import annotations

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.topology import parse_topology

HEAD = "Layer, M, N, K, Weight density, Activation density,\n"


def test_columns_are_found_by_their_name() -> None:
    fc6, fc7 = parse_topology(HEAD + "fc6, 1, 8, 16, 0.09, 1,\nfc7, 1, 4, 8,\n", "alexnet.csv").layers
    assert (fc6.channels, fc6.filters) == (16, 8)
    assert (fc6.weight_density, fc6.activation_density) == (0.09, 1.0)
    assert (fc7.given_weight_density, fc7.given_activation_density) == (None, None)
    assert fc7.source == "fc6"


def test_a_convolution_keeps_its_eight_numbers() -> None:
    head = "Layer, H, W, Kh, Kw, C, N, stride, activation density\n"
    (layer,) = parse_topology(head + "conv1, 8, 8, 3, 3, 4, 5, 2, 0.5\n", "net.csv").layers
    assert (layer.kernel, layer.stride, layer.activation_density) == ((3, 3), (2, 2), 0.5)


@pytest.mark.parametrize("share", ["1.5", "-0.1", "half", ".", "1e-1"])
def test_a_share_is_from_0_to_1(share: str) -> None:
    with pytest.raises(ToolError) as error:
        parse_topology(f"{HEAD}fc6, 1, 8, 16, {share}, 1\n", "alexnet.csv")
    first = str(error.value.diagnostics[0]).splitlines()[0]
    assert first == (
        f"error[bad-topology]: alexnet.csv, line 2: weight density must be a number from 0 to 1, not '{share}'"
    )
