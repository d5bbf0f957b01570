from __future__ import annotations

import pytest

from bitkiln.ir import Diagnostic, Location, Severity, ToolError, fail, known_names


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (Location(), ""),
        (Location("model.py"), "model.py"),
        (Location("model.py", 42), "model.py:42"),
        (Location("model.py", 42, "features.3"), "model.py:42 (features.3)"),
        (Location(module="features.3"), "features.3"),
    ],
)
def test_location(location: Location, text: str) -> None:
    assert str(location) == text


def test_text_of_a_diagnostic() -> None:
    finding = Diagnostic("unsupported-op", "aten.sort is unknown", Location("model.py", 42), "leave it out")
    assert str(finding) == "error[unsupported-op]: aten.sort is unknown\n  --> model.py:42\n  help: leave it out"
    assert str(Diagnostic("slow", "this takes long", severity=Severity.WARNING)) == "warning[slow]: this takes long"


def test_error_carries_all_findings() -> None:
    first, second = Diagnostic("a", "one"), Diagnostic("b", "two", hint="fix")
    error = ToolError(first, second)
    assert error.diagnostics == (first, second)
    assert str(error) == "error[a]: one\nerror[b]: two\n  help: fix"
    assert str(error.prefixed("line 3")) == "error[a]: line 3: one\nerror[b]: line 3: two\n  help: fix"


def test_fail_is_raised_by_the_caller() -> None:
    error = fail("a", "one", Location("m.py", 1), "fix")
    assert error.diagnostics == (Diagnostic("a", "one", Location("m.py", 1), "fix"),)


def test_known_names() -> None:
    assert known_names("lenear", ["relu", "linear"]) == "did you mean linear? Known: linear, relu"
    assert known_names("xyz", ["relu", "linear"]) == "known: linear, relu"
