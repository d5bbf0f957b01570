"""Topology files: SCALE-Sim's own, and what is wrong with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitkiln.ir import ToolError
from bitkiln.sim.topology import parse_topology, read_topology
from bitkiln.sim.workload import LayerKind
from tests.sim.networks import ALEXNET_TOPOLOGY

HEAD = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
HINT = (
    "  help: a line is: name, height, width, kernel height, kernel width, channels, filters, stride; or: name, M, N, K"
)


def test_alexnet_as_shipped_with_scalesim(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.csv"
    path.write_text(ALEXNET_TOPOLOGY)
    workload = read_topology(path, batch=2)
    assert (workload.name, workload.batch, len(workload.layers)) == ("alexnet", 2, 5)
    assert [layer.output for layer in workload.layers] == [(55, 55), (23, 23), (11, 11), (11, 11), (11, 11)]
    assert [layer.taps for layer in workload.layers] == [363, 2400, 2304, 3456, 3456]
    assert {layer.padding for layer in workload.layers} == {((0, 0), (0, 0))}
    assert {layer.batch for layer in workload.layers} == {2}


def test_matrix_products() -> None:
    (layer,) = parse_topology("Layer, M, N, K,\nqkv, 197, 2304, 768,\n", "vit.csv").layers
    assert (layer.kind, layer.positions, layer.group_filters, layer.taps) == (LayerKind.MATRIX, 197, 2304, 768)


def test_blank_lines_and_missing_last_commas_are_nothing() -> None:
    text = "\n" + HEAD.rstrip(",\n") + "\n\n a, 8, 8, 3, 3, 4, 5, 2\n,,,\n"
    (layer,) = parse_topology(text, "net.csv").layers
    assert (layer.name, layer.stride) == ("a", (2, 2))


def test_scalesims_own_habits() -> None:
    """Tabs and names of digits, comments behind the last comma, depthwise layers by their name, a byte order mark."""
    text = (
        "\ufeff"
        + HEAD
        + "\t1,14,14,3,3,8,1,1,#dw\n# all of it\nDP2, 14, 14, 3, 3, 8, 2, 2,\nConv3, 6, 6, 1, 1, 16, 4, 1\n"
    )
    first, depthwise, last = parse_topology(text, "mobilenet.csv").layers
    assert (first.name, first.groups, first.filters) == ("1", 1, 1)
    assert (depthwise.groups, depthwise.filters, depthwise.macs) == (8, 16, 7 * 7 * 9 * 16)
    assert (last.groups, last.filters) == (1, 4)


def test_groups_and_batch_have_columns_of_their_own() -> None:
    text = (
        HEAD.replace("Strides,", "Strides, Batch Size, Groups,")
        + "a, 8, 8, 3, 3, 4, 6, 1, 5, 2,\nDPb, 6, 6, 3, 3, 6, 6, 1, , 3,\n"
    )
    first, second = parse_topology(text, "net.csv", batch=2).layers
    assert (first.groups, first.batch, first.stride) == (2, 10, (1, 1))
    assert (second.groups, second.filters, second.batch) == (3, 6, 2)


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ("Groups,", "a, 8, 8, 3, 3, 4, 6, 1, 5,", "layer a: 4 channels and 6 filters do not divide into 5 groups"),
        ("Groups,", "a, 8, 8, 3, 3, 4, 6, 1, two,", "groups must be a whole number, not 'two'"),
        ("Batch,", "a, 8, 8, 3, 3, 4, 6, 1, 0,", "batch must be at least 1, not 0"),
    ],
)
def test_our_columns_are_checked(columns: str, row: str, message: str) -> None:
    with pytest.raises(ToolError) as error:
        parse_topology(HEAD.replace("Strides,", f"Strides, {columns}") + row, "net.csv")
    assert str(error.value.diagnostics[0]).splitlines()[0] == f"error[bad-topology]: net.csv, line 2: {message}"


def test_a_second_stride_and_the_share_of_weights() -> None:
    (layer,) = parse_topology(HEAD + "a, 8, 9, 3, 3, 4, 5, 2, 1, 2:4,\n", "net.csv").layers
    assert (layer.stride, layer.weight_density) == ((2, 1), 0.5)


def test_a_layer_reads_the_one_before_it_if_the_sizes_are_equal() -> None:
    text = HEAD + "a, 8, 8, 3, 3, 4, 5, 1,\nb, 6, 6, 3, 3, 5, 7, 1,\nc, 9, 9, 3, 3, 7, 7, 1,\n"
    assert [layer.source for layer in parse_topology(text, "net.csv").layers] == ["", "a", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "net.csv is empty\n" + HINT),
        (HEAD, "net.csv names columns, but has no layer\n" + HINT),
        (
            "a, 8, 8, 3, 3, 4, 5, 1,\n",
            "net.csv, line 1: the first line must name the columns, but is a layer already\n  --> net.csv:1\n" + HINT,
        ),
        (
            HEAD + "a, 8, 8, 3, 3, 4, 5, 1,\nb, 8, 8, 3, 3, 4,\n",
            "net.csv, line 3: expected 7 numbers (height, width, kernel height, kernel width, channels, filters, "
            "stride) after the name, not 5\n  --> net.csv:3\n" + HINT,
        ),
        (
            HEAD + "\na, 8, 8, 3, three, 4, 5, 1,\n",
            "net.csv, line 3: kernel width must be a whole number, not 'three'\n  --> net.csv:3\n" + HINT,
        ),
        (
            HEAD + "a, -8, 8, 3, 3, 4, 5, 1,\n",
            "net.csv, line 2: height must be at least 1, not -8\n  --> net.csv:2\n" + HINT,
        ),
        (
            HEAD + "a, 8, 8, 9, 3, 4, 5, 1,\n",
            "net.csv, line 2: layer a: the kernel of 9x3 is larger than the padded input of 8x8\n"
            "  --> net.csv:2\n" + HINT,
        ),
        (
            HEAD + "a, 8, 8, 3, 3, 4, 5, 1, 5:4\n",
            "net.csv, line 2: the sparsity N:M must keep between 1 and M of M weights, not 5:4\n"
            "  --> net.csv:2\n" + HINT,
        ),
        (
            "Layer, M, N, K,\na, 1, 2,\n",
            "net.csv, line 2: expected 3 numbers (M, N, K) after the name, not 2\n  --> net.csv:2\n" + HINT,
        ),
    ],
)
def test_wrong_file_is_one_diagnostic_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ToolError) as error:
        parse_topology(text, "net.csv")
    assert str(error.value) == f"error[bad-topology]: {message}"


def test_missing_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as error:
        read_topology(tmp_path / "none.csv")
    expected = f"error[missing-file]: cannot read the topology {tmp_path}/none.csv: No such file or directory"
    assert str(error.value) == expected
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match=r"bad-topology.*image.csv is no text in UTF-8"):
        read_topology(tmp_path / "image.csv")
