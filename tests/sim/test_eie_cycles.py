"""EIE's recurrence against a machine that is built register by register."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.sim.compressed import Compressed
from bitkiln.sim.eie_cycles import EieCycles, run_vectors
from tests.sim.eie_reference import ENTRIES_A_WORD, Entry, Machine, encode


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Small matrices of any density with few and many elements, queues that hold 1 to 9, indices of 1 to 4 bits."""
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 24))
    density, live = draw(st.sampled_from((0.0, 0.05, 0.2, 0.5, 1.0))), draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = generator.integers(1, 9, (rows, columns)) * (generator.random((rows, columns)) < density)
    vector = generator.integers(1, 9, columns) * (generator.random(columns) < live)
    elements, places, index_bits = draw(st.integers(1, 9)), draw(st.integers(2, 10)), draw(st.integers(1, 4))
    return Machine(weights.tolist(), vector.tolist(), elements, places, index_bits)


@settings(max_examples=400, deadline=None)
@given(machine=machines())
def test_recurrence_is_the_machine_cycle_for_cycle(machine: Machine) -> None:
    weights, vector = np.array(machine.weights), np.array(machine.vector)
    matrix = Compressed.of(weights != 0, machine.elements, machine.index_bits)
    cycles = run_vectors(matrix, vector[None] != 0, machine.places, ENTRIES_A_WORD)
    assert cycles.total_cycles.tolist() == [machine.run()]
    assert machine.result == (weights @ vector).tolist()
    assert cycles.broadcasts.tolist() == [machine.broadcasts]
    assert cycles.full_cycles.tolist() == [machine.full_cycles]
    assert cycles.imbalance_cycles.tolist() == [machine.imbalance_cycles]
    assert cycles.entry_cycles.tolist() == [sum(part.entries for part in machine.parts)]
    assert cycles.empty_cycles.tolist() == [sum(part.empty_columns for part in machine.parts)]
    assert cycles.word_reads.tolist() == [sum(part.word_reads for part in machine.parts)]
    assert matrix.entries.sum(axis=0).tolist() == [len(part.memory) for part in machine.parts]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), vectors=st.integers(1, 7), places=st.integers(2, 9))
def test_vectors_run_as_if_alone(seed: int, vectors: int, places: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = Compressed.of(generator.random((29, 31)) < 0.3, 4, 2)
    live = generator.random((vectors, 31)) < generator.random((vectors, 1))
    together = run_vectors(matrix, live, places, 4)
    alone = [run_vectors(matrix, vector[None], places, 4) for vector in live]
    for field in fields(EieCycles)[1:]:
        assert getattr(together, field.name).tolist() == [getattr(run, field.name)[0] for run in alone], field.name


def test_entries_by_hand() -> None:
    """The example of the paper's section III-B: v = [1, 2, 0, 3], z = [2, 0, 15, 2]."""
    column = [0, 0, 1, 2, *([0] * 18), 3]
    assert encode(column, 15) == [Entry(2, 1), Entry(0, 2), Entry(15, 0), Entry(2, 3)]
    matrix = Compressed.of(np.array(column)[:, None] != 0, elements=1, index_bits=4)
    assert matrix.entries.tolist() == [[4]]
    assert (matrix.entry_count, matrix.filler_count) == (4, 1)


def test_one_weight_takes_its_way() -> None:
    """Row load 0, broadcast 1, pointers 2, takeover 3, walk 4, four stages 5 to 8: nine cycles."""
    matrix = Compressed.of(np.array([[True]]), elements=1, index_bits=4)
    assert run_vectors(matrix, np.array([[True]]), 8, 8).total_cycles.tolist() == [9]
    assert run_vectors(matrix, np.array([[False]]), 8, 8).total_cycles.tolist() == [1]


def test_deeper_queues_never_slow_down() -> None:
    generator = np.random.default_rng(3)
    matrix = Compressed.random(generator, (300, 200), 0.1, 16, 4)
    live = generator.random((3, 200)) < 0.6
    runs = [run_vectors(matrix, live, places, 8).total_cycles for places in range(2, 40)]
    assert all((after <= before).all() for before, after in itertools.pairwise(runs))
    assert (runs[0] > runs[-1]).all()


def test_random_masks_are_drawn_element_by_element() -> None:
    drawn, expected = np.random.default_rng(7), np.random.default_rng(7)
    matrix = Compressed.random(drawn, (10, 6), 0.4, elements=4, index_bits=2)
    weights = np.zeros((10, 6), bool)
    for element in range(4):
        rows = range(element, 10, 4)
        weights[rows] = (expected.random((6, len(rows))) < 0.4).T
    same = Compressed.of(weights, 4, 2)
    assert matrix.entries.tolist() == same.entries.tolist()
    assert matrix.nonzeros.tolist() == same.nonzeros.tolist()
    assert drawn.random() == expected.random()
