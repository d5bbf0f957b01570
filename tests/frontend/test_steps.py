"""When a step runs, when it does not, and what is left of one that was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bitkiln.frontend.steps import (
    STAMPS,
    Step,
    digest_of,
    do_step,
    file_digest,
    is_done,
    output_folder,
    package_digest,
    source_digest,
)
from bitkiln.ir import ToolError


@dataclass
class Recorder:
    """A step that copies its input to two files, and how often it ran."""

    folder: Path
    given: str = "a"
    runs: int = 0
    files: tuple[str, ...] = field(default=("one.txt", "rtl/two.txt"))

    @property
    def step(self) -> Step:
        return Step("copy", lambda: self.given, self._run)

    def _run(self) -> tuple[str, ...]:
        self.runs += 1
        for name in self.files:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(self.given)
        return self.files


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    (tmp_path / STAMPS).mkdir()
    recorder = Recorder(tmp_path)
    assert do_step(recorder.step, tmp_path)
    return recorder


def test_a_step_runs_once(recorder: Recorder) -> None:
    assert is_done(recorder.step, recorder.folder)
    assert not do_step(recorder.step, recorder.folder)
    assert recorder.runs == 1


def test_force(recorder: Recorder) -> None:
    assert do_step(recorder.step, recorder.folder, force=True)
    assert recorder.runs == 2


def test_another_input(recorder: Recorder) -> None:
    recorder.given = "b"
    assert not is_done(recorder.step, recorder.folder)
    assert do_step(recorder.step, recorder.folder)
    recorder.given = "a"
    assert do_step(recorder.step, recorder.folder)


def test_another_bitkiln(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitkiln.frontend.steps.package_digest", lambda: "next version")
    assert do_step(recorder.step, recorder.folder)


def _delete(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _fill(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 10)


def _nest(file: Path) -> None:
    file.write_text("[" * 100_000)


@pytest.mark.parametrize("damage", [_delete, _cut, _fill, _nest])
@pytest.mark.parametrize("name", ["one.txt", "rtl/two.txt", f"{STAMPS}/copy.json"])
def test_files_that_are_not_as_they_were_written(name: str, damage: Callable[[Path], None], recorder: Recorder) -> None:
    damage(recorder.folder / name)
    assert do_step(recorder.step, recorder.folder)
    assert recorder.runs == 2
    assert not do_step(recorder.step, recorder.folder)


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"inputs": 1, "outputs": []}', '{"outputs": {"one.txt": 3}}'])
def test_a_stamp_that_says_something_else(content: str, recorder: Recorder) -> None:
    (recorder.folder / STAMPS / "copy.json").write_text(content)
    assert do_step(recorder.step, recorder.folder)


def test_a_stamp_without_outputs_is_none(recorder: Recorder) -> None:
    stamp = recorder.folder / STAMPS / "copy.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "outputs": {}}))
    assert do_step(recorder.step, recorder.folder)


def test_a_step_that_fails_is_not_done(recorder: Recorder) -> None:
    def fails() -> tuple[str, ...]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        do_step(Step("copy", lambda: "b", fails), recorder.folder)
    recorder.given = "a"
    assert not is_done(recorder.step, recorder.folder)


def test_a_step_whose_input_is_missing_is_not_done(tmp_path: Path) -> None:
    step = Step("read", lambda: file_digest(tmp_path / "none"), lambda: ())
    assert not is_done(step, tmp_path)


def test_the_digest_of_sources_is_that_of_the_python_files(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1\n")
    first = source_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("changed\n")
    (tmp_path / "folder.py").mkdir()
    assert source_digest(tmp_path) == first
    (tmp_path / "layers.py").write_text("y = 1\n")
    assert source_digest(tmp_path) != first


def test_the_digest_of_sources_knows_packages(tmp_path: Path) -> None:
    inner = tmp_path / "blocks" / "inner"
    for folder in (inner, tmp_path / ".venv", tmp_path / "site-packages", tmp_path / "__pycache__"):
        folder.mkdir(parents=True)
    (tmp_path / "model.py").write_text("from blocks.inner.head import Head\n")
    (inner / "head.py").write_text("x = 1\n")
    first = source_digest(tmp_path)
    for name in (".venv", "site-packages", "__pycache__"):
        (tmp_path / name / "other.py").write_text("not importable by this name\n")
    assert source_digest(tmp_path) == first
    (inner / "head.py").write_text("x = 2\n")
    assert source_digest(tmp_path) != first


def test_digests() -> None:
    assert digest_of({"b": [1, 2.5], "a": None}) == digest_of({"a": None, "b": [1, 2.5]})
    assert digest_of([1]) != digest_of(["1"])
    assert len(package_digest()) == 64
    assert file_digest(Path("/dev/null")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_one_run_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "build"
    with output_folder(folder):
        with pytest.raises(ToolError) as caught, output_folder(folder):
            pass
        assert str(caught.value) == (
            f"error[output-in-use]: another run is writing to {folder}\n"
            "  help: wait for it, or name another folder with -o"
        )
    with output_folder(folder):
        pass


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / name for name in (".bitkiln.x1", f"{STAMPS}/.bitkiln.x2", ".rtl.x3")]
    kept = [tmp_path / name for name in (".git", "rtl", f"{STAMPS}/import.json")]
    for folder in (*left, *kept):
        folder.mkdir(parents=True)
        (folder / "new").write_text("half")
    with output_folder(tmp_path):
        assert [path.exists() for path in (*left, *kept)] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("/proc/build", "No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_written(folder: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ToolError) as caught, output_folder(tmp_path / folder):
        pass
    assert str(caught.value) == (
        f"error[cannot-write]: the output folder {tmp_path / folder} cannot be written: {reason}\n"
        "  help: -o, or [output] folder, names another one"
    )
    assert (tmp_path / "file").read_text() == "mine"
