from __future__ import annotations

import pytest

from bitkiln.hdl.hls.names import KERNEL_SUFFIXES, RESERVED, STREAM_SUFFIXES, identifiers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", "conv1"),
        ("features.0", "features_0"),
        ("class", "class_2"),
        ("std", "std_2"),
        ("3x3", "n_3x3"),
        ("_inner", "inner"),
        ("a__b", "a_b"),
        ("größe", "gr_e"),
        ("", "n"),
        ("HLS_PIPELINE", "n_HLS_PIPELINE"),
        ("x", "x"),
    ],
)
def test_names_become_identifiers(name: str, expected: str) -> None:
    assert identifiers([name], []) == {name: expected}


def test_names_that_become_equal_are_numbered() -> None:
    found = identifiers(["a.b", "a_b", "a-b"], [])
    assert found == {"a.b": "a_b", "a_b": "a_b_2", "a-b": "a_b_3"}


def test_a_name_does_not_meet_another_with_something_appended() -> None:
    """`fc1_weights` would be the table of `fc1`, `fc1_t` its stream's type."""
    found = identifiers(["fc1", "fc1_weights", "fc1_t"], ["fc1_stream"])
    assert found == {"fc1": "fc1", "fc1_weights": "fc1_weights_2", "fc1_t": "fc1_t_2", "fc1_stream": "fc1_stream"}
    written = [
        name + suffix
        for key, name in found.items()
        for suffix in (STREAM_SUFFIXES if key == "fc1_stream" else KERNEL_SUFFIXES + STREAM_SUFFIXES)
    ]
    assert len(set(written)) == len(written)
    assert RESERVED.isdisjoint(written)


def test_a_stream_may_be_called_as_the_top_functions_parameters_are() -> None:
    assert identifiers(["input"], []) == {"input": "input_2"}
    assert identifiers([], ["input", "output"]) == {"input": "input", "output": "output"}
