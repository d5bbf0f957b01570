"""Coupled groups: read off the edges, printable, and what is cut is exactly what they say."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Const, Graph, evaluate, verify
from bitkiln.ir.ops import Add, Attention, Concat, Conv2d, Linear, MatMul, Relu, Reshape, Softmax
from bitkiln.passes import ChannelGroup, groups
from bitkiln.passes._channel_cut import emptied, without
from bitkiln.passes._channels import Channels
from bitkiln.passes._codes import with_constants
from bitkiln.passes._units import Units
from bitkiln.passes.channel_groups import channel_groups
from tests.ir.random_graphs import random_input
from tests.passes.channel_networks import SAME, CoupledNetwork, coupled_networks
from tests.passes.networks import Network, mlp


def sizes(graph: Graph) -> dict[str, int]:
    return {group.name: group.size for group in groups(graph)}


def predicted_params(graph: Graph, cut: dict[str, int]) -> int:
    """Elements of all constants if `cut` channels of each group go, from the listing alone."""
    shapes = {const.name: list(const.type.shape) for const in graph.consts}
    done: set[tuple[str, int, str]] = set()
    for group in groups(graph):
        for member in group.members:
            if (member.const, member.axis, group.name) not in done:
                done.add((member.const, member.axis, group.name))
                shapes[member.const][member.axis] -= cut.get(group.name, 0) * member.count
    return sum(int(np.prod(shape)) for shape in shapes.values())


def without_outgoing(graph: Graph, units: set[int], channels: Channels) -> Graph:
    """The graph with all weights at zero that read these units."""
    changed: dict[str, Const] = {}
    for slot in channels.slots:
        if slot.role.value == "reads":
            const = changed.get(slot.const, graph.const[slot.const])
            gone = np.isin(channels.units.find(slot.labels), sorted(units))
            data = const.data.index_fill(slot.axis, torch.from_numpy(np.flatnonzero(gone)), 0)
            changed[slot.const] = Const(const.name, const.type, data)
    return with_constants(graph, changed)


@settings(max_examples=40, deadline=None)
@given(graph=coupled_networks(), seed=st.integers(0, 999))
def test_channels_that_nothing_reads_can_be_cut(graph: Graph, seed: int) -> None:
    """All sums lose only zeros: where one product stays the sum is bit-identical, else up to their order."""
    channels = Channels.of(graph)
    found = channel_groups(channels)
    rng = np.random.default_rng(seed)
    cut = {group.name: int(rng.integers(0, group.size)) for group in found}
    units = {unit for group in found for unit in rng.permutation(group.units)[: cut[group.name]].tolist()}
    removed = np.array(sorted(units), np.int64)
    spared = emptied(channels, removed)
    zeroed = without_outgoing(graph, units, channels)
    if not len(spared):
        small = verify(without(Channels.of(zeroed), removed))
        assert small.params == predicted_params(graph, cut)
        x = random_input(graph, 2, seed)[0].double()
        torch.testing.assert_close(evaluate(small, x)[0], evaluate(zeroed, x)[0], rtol=1e-12, atol=1e-12)


def test_whole_numbers_are_bit_identical() -> None:
    """With whole numbers as weights there is no rounding, and so no order of sums."""
    network = CoupledNetwork((2, 6, 6))
    x = network.conv(network.x, 6, "first", Conv2d(padding=SAME))
    for i, kind in enumerate((1, 2, 3, 4, 6, 7)):
        x = network.block(x, kind, f"block{i}")
    flat = network.op(Reshape((1, 6 * 36)), x, name="flat")
    graph = network.graph(network.linear(flat, 3, "head"))
    whole = {c.name: Const(c.name, c.type, (c.data * 10).round().clamp(-2, 2)) for c in graph.consts}
    graph = with_constants(graph, whole)
    channels = Channels.of(graph)
    units = {unit for group in channel_groups(channels) for unit in group.units[::2]}
    zeroed = without_outgoing(graph, units, channels)
    small = without(Channels.of(zeroed), np.array(sorted(units)))
    images = torch.randint(-3, 4, (4, 2, 6, 6)).double()
    assert torch.equal(evaluate(small, images)[0], evaluate(zeroed, images)[0])
    assert small.params < zeroed.params / 2


def test_a_group_in_full() -> None:
    network = CoupledNetwork((2, 6, 6))
    x = network.conv(network.x, 4, "first", size=1)
    x = network.residual(x, "sum")
    flat = network.op(Reshape((1, 144)), x, name="flat")
    first, inner = groups(network.graph(network.linear(flat, 3, "head")))
    assert str(first) == (
        "first: 4 channels\n"
        "  makes   first.weight axis 0\n"
        "  follows first.bias axis 0\n"
        "  reads   sum.a.weight axis 1\n"
        "  makes   sum.b.weight axis 0\n"
        "  follows sum.b.bias axis 0\n"
        "  reads   head.weight axis 1 x36"
    )
    assert (first.makers, inner.name, inner.size) == (("first", "sum.b"), "sum.a", 5)


def test_inputs_and_outputs_are_in_no_group() -> None:
    assert sizes(mlp((6, 8, 3))) == {"fc1": 8}
    assert sizes(mlp((6, 3))) == {}


def test_a_concatenation_keeps_its_parts_apart() -> None:
    network = CoupledNetwork((2, 6, 6))
    a, b = (network.conv(network.x, 3 + i, f"part{i}", size=1) for i in range(2))
    last = network.conv(network.op(Concat(), a, b), 2, "last", size=1)
    found = groups(network.graph(last))
    assert [(group.name, group.size) for group in found] == [("part0", 3), ("part1", 4)]


def test_groups_of_a_convolution_are_cut_alike() -> None:
    network = CoupledNetwork((2, 6, 6))
    last = network.conv(network.grouped(network.x, "block"), 3, "last", size=1)
    assert sizes(network.graph(last)) == {"block.wide": 3, "block.conv": 2}


def test_a_shuffle_is_cut_at_the_same_place_of_each_group() -> None:
    network = CoupledNetwork((2, 6, 6))
    last = network.conv(network.shuffle(network.x, "block"), 3, "last", size=1)
    assert sizes(network.graph(last)) == {"block.wide": 3}


def test_attention_and_softmax_need_all_channels() -> None:
    network = Network((4, 6))
    q, k, v = (network.linear(network.x, 8, name) for name in "qkv")
    heads = network.op(Attention(0.5), q, k, v)
    scores = network.op(Softmax(2), network.linear(heads, 5, "scores"))
    product = network.op(MatMul(), scores, network.const("table", network.random(1, 5, 3)))
    assert sizes(network.graph(network.linear(product, 2, "head"))) == {}


def test_shared_weights_couple_their_layers() -> None:
    network = Network((4,))
    weight = network.const("w", network.random(4, 4))
    a = network.op(Relu(), network.op(Linear(), network.x, weight))
    b = network.op(Relu(), network.op(Linear(), a, weight))
    assert sizes(network.graph(network.linear(b, 2, "head"))) == {}  # the weight reads the input, too


def test_a_map_that_gates_all_channels_stays() -> None:
    network = CoupledNetwork((2, 6, 6))
    x, gate = network.conv(network.x, 4, "wide", size=1), network.conv(network.x, 1, "map", size=1)
    last = network.conv(network.op(Add(), x, gate), 2, "last", size=1)
    assert sizes(network.graph(last)) == {"wide": 4}


def test_the_smallest_number_of_a_unit_is_its_own() -> None:
    units = Units()
    a, b = units.fresh(3), units.fresh(3)
    units.join(a, b[::-1])
    units.pin(b[:1])
    assert units.find(np.concatenate([a, b])).tolist() == [1, 2, 0, 0, 2, 1]


def test_members_are_values() -> None:
    assert isinstance(groups(mlp((6, 8, 3)))[0], ChannelGroup)
    assert groups(mlp((6, 8, 3))) == groups(mlp((6, 8, 3), seed=5))
