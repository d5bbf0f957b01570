"""Bundles: values that compare by their bytes, and folders that are written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bitkiln.hdl.bundle import Bundle
from bitkiln.ir import ToolError

FILES = {"top.il": b"module \\top\n", "sim/main.cpp": b"int main() {}\n", "empty": b""}


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_the_order_of_the_files_does_not_matter() -> None:
    reversed_files = dict(reversed(FILES.items()))
    assert Bundle.of(FILES) == Bundle.of(reversed_files)
    assert Bundle.of(FILES).paths == ("empty", "sim/main.cpp", "top.il")
    assert Bundle.of(FILES)["top.il"] == FILES["top.il"]


def test_the_digest_depends_on_every_path_and_byte() -> None:
    bundles = [
        Bundle.of({}),
        Bundle.of({"a": b"bc"}),
        Bundle.of({"ab": b"c"}),
        Bundle.of({"a": b"b", "c": b""}),
        Bundle.of({"a": b"", "b": b"c"}),
        Bundle.of({"a": b"b"}),
    ]
    assert len({bundle.digest() for bundle in bundles}) == len(bundles)
    assert Bundle.of({}).digest() == hashlib.sha256(b"").hexdigest()
    assert Bundle.of(FILES).digest() == "3c6c2c8733947ff2e18cb59911e837b88f86a702da949a70ad30a7ab08ce8577"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../../b", "", ".", "a//b", "./a", "a/", "a\\b", "c:a", "a\nb", "bundle.sha256"]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ToolError) as caught:
        Bundle.of({path: b""})
    message = f"a file of a bundle needs a relative path without '..', not {path!r}"
    assert str(caught.value) == f"error[unsafe-path]: {message}"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = Bundle.of(FILES).write(tmp_path / "new" / "out")
    listed = "".join(f"{hashlib.sha256(FILES[path]).hexdigest()}  {path}\n" for path in sorted(FILES))
    assert content(folder) == FILES | {"bundle.sha256": listed.encode()}
    assert Bundle.read(folder) == Bundle.of(FILES)
    assert [file.name for file in folder.parent.iterdir()] == ["out"]


def test_an_older_bundle_is_replaced_whole(tmp_path: Path) -> None:
    folder = Bundle.of(FILES).write(tmp_path / "out")
    Bundle.of({"other": b"1"}).write(folder)
    assert set(content(folder)) == {"other", "bundle.sha256"}


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ToolError) as caught:
        Bundle.of(FILES).write(tmp_path)
    assert str(caught.value) == (
        f"error[not-a-bundle]: {tmp_path} is not replaced: it holds files that do not come from bitkiln\n"
        "  help: name a new or an empty folder"
    )
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_folder_of_the_user_is_replaced_by_force(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "draft").write_text("")
    folder = Bundle.of({"a": b"1"}).write(tmp_path / "out", force=True)
    assert set(content(folder)) == {"a", "bundle.sha256"}


@pytest.mark.parametrize("inside", ["", "work/here"])
def test_where_one_works_is_not_replaced_even_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / inside)
    with pytest.raises(ToolError) as caught:
        Bundle.of({"a": b"1"}).write(tmp_path, force=True)
    assert str(caught.value) == (
        f"error[not-a-bundle]: {tmp_path} is not replaced: the working directory lies in it\n"
        "  help: name a new or an empty folder"
    )
    assert (tmp_path / "work" / "here").is_dir()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert Bundle.read(Bundle.of(FILES).write(tmp_path)) == Bundle.of(FILES)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Bundle.of(FILES).write(tmp_path / "out")
    before = content(folder)

    def disk_is_full(file: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_is_full)
    with pytest.raises(ToolError) as caught:
        Bundle.of({"a": b"1"}).write(folder)
    assert str(caught.value) == (
        f"error[cannot-write]: cannot write {folder}: No space left on device\n"
        "  help: check its permissions and the free space"
    )
    assert content(folder) == before
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_swap_that_fails_halfway_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Bundle.of(FILES).write(tmp_path / "out")
    before = content(folder)
    rename = Path.rename

    def refuse_the_new_one(file: Path, target: Path) -> Path:
        if file.name == "new":
            raise OSError(13, "Permission denied")
        return rename(file, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(ToolError, match="Permission denied"):
        Bundle.of({"a": b"1"}).write(folder)
    assert content(folder) == before


def change(folder: Path) -> None:
    (folder / "top.il").write_bytes(b"module \\tap\n")


def lose(folder: Path) -> None:
    (folder / "empty").unlink()


def lose_the_list(folder: Path) -> None:
    (folder / "bundle.sha256").unlink()


def cut_the_list(folder: Path) -> None:
    (folder / "bundle.sha256").write_bytes((folder / "bundle.sha256").read_bytes()[:-5])


@pytest.mark.parametrize("damage", [change, lose, lose_the_list, cut_the_list])
def test_a_damaged_folder_is_not_read(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = Bundle.of(FILES).write(tmp_path / "out")
    damage(folder)
    assert Bundle.read(folder) is None


def test_bundles_are_joined() -> None:
    assert Bundle.of({"a": b"1"}).merged(Bundle.of({"b": b"2"})) == Bundle.of({"a": b"1", "b": b"2"})
    with pytest.raises(AssertionError, match="a is in both bundles with different bytes"):
        Bundle.of({"a": b"1"}).merged(Bundle.of({"a": b"2"}))
