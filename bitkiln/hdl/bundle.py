"""Generated files as a value: what a generator returns, and the only way its files reach the disk."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bitkiln.ir import ToolError, fail

MANIFEST = "bundle.sha256"
TOP = "top"
"""The name of a design's outermost module, and of its files."""


@dataclass(frozen=True)
class Bundle:
    """Files by relative path ("rtl/top.il"), sorted by path.

    The same files give the same bundle and the same digest. Paths use "/" and are relative, without "..".

        Bundle.of({"top.il": text.encode()}).write(folder)
    """

    files: tuple[tuple[str, bytes], ...]

    def __post_init__(self) -> None:
        paths = [path for path, _ in self.files]
        assert paths == sorted(set(paths)), f"paths must be sorted and unique, not {paths}"
        for path in paths:
            _check_path(path)
        for path in paths:
            parents = [str(parent) for parent in PurePosixPath(path).parents]
            clash = sorted(set(parents) & set(paths))
            assert not clash, f"{clash[0]} is a file and the folder of {path}"

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Bundle:
        return cls(tuple(sorted(files.items())))

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for path, _ in self.files)

    def __getitem__(self, path: str) -> bytes:
        return dict(self.files)[path]

    def merged(self, other: Bundle) -> Bundle:
        """Return the files of both; a path must not be in both with different bytes."""
        mine = dict(self.files)
        for path, content in other.files:
            assert mine.get(path, content) == content, f"{path} is in both bundles with different bytes"
        return Bundle.of(mine | dict(other.files))

    def digest(self) -> str:
        """Return the SHA-256 of all paths and bytes, as 64 hexadecimal digits."""
        total = hashlib.sha256()
        for path, content in self.files:
            name = path.encode()
            total.update(len(name).to_bytes(8, "little") + name)
            total.update(len(content).to_bytes(8, "little") + content)
        return total.hexdigest()

    def write(self, folder: Path, *, force: bool = False) -> Path:
        """Write the files and their list of digests as the whole content of `folder`; return `folder`.

        The folder is written whole or stays as it was. An older bundle there is replaced; anything else only with
        `force`, and never a folder in which we are or the user is at home: `not-a-bundle`. Raises `cannot-write` when
        the disk refuses.
        """
        folder = folder.absolute()
        _check_replaceable(folder, force)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
                new = Path(beside) / "new"
                new.mkdir()
                self._write_files(new)
                _swap(folder, new, Path(beside) / "old")
        except OSError as error:
            message = f"cannot write {folder}: {error.strerror or error}"
            raise fail("cannot-write", message, hint="check its permissions and the free space") from error
        return folder

    @classmethod
    def read(cls, folder: Path) -> Bundle | None:
        """Return the bundle that was written to `folder`, or None if it is not there as it was written."""
        try:
            lines = (folder / MANIFEST).read_text().splitlines()
            paths = [line.partition("  ")[2] for line in lines]
            bundle = cls.of({path: (folder / path).read_bytes() for path in paths})
        except (OSError, UnicodeDecodeError, ToolError):
            return None
        return bundle if bundle._manifest() == "".join(f"{line}\n" for line in lines) else None

    def _manifest(self) -> str:
        return "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in self.files)

    def _write_files(self, folder: Path) -> None:
        for path, content in self.files:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (folder / MANIFEST).write_text(self._manifest())


def _swap(folder: Path, new: Path, old: Path) -> None:
    """Put `new` in the place of `folder`, which goes to `old`; back again if that fails."""
    had_one = folder.exists()
    if had_one:
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if had_one:
            old.rename(folder)
        raise


def _check_replaceable(folder: Path, force: bool) -> None:
    """Do not delete what we did not write: somebody may name their home folder as the output."""
    is_ours = (folder / MANIFEST).is_file()
    is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if is_ours or is_empty:
        return
    if not force:
        what = "holds files that do not come from bitkiln" if folder.is_dir() else "is a file"
        message = f"{folder} is not replaced: it {what}"
        raise fail("not-a-bundle", message, hint="name a new or an empty folder")
    for place, what in ((Path.cwd(), "the working directory"), (Path.home(), "your home folder")):
        if place.resolve().is_relative_to(folder.resolve()):
            message = f"{folder} is not replaced: {what} lies in it"
            raise fail("not-a-bundle", message, hint="name a new or an empty folder")


def _check_path(path: str) -> None:
    parts = PurePosixPath(path).parts
    is_relative = str(PurePosixPath(path)) == path and not path.startswith("/") and ".." not in parts
    is_plain = path.isprintable() and not set(path) & set('\\:*?"<>|')
    if path in ("", ".", MANIFEST) or not is_relative or not is_plain:
        raise fail("unsafe-path", f"a file of a bundle needs a relative path without '..', not {path!r}")
