"""Generated files as a value: what a generator returns, and the only way its files reach the disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bitkiln.ir import fail


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

    def write(self, folder: Path) -> Path:
        """Write the files as the whole content of `folder`, or leave it as it was; return `folder`.

        What `folder` held before is replaced. Raises `cannot-write`.
        """
        folder = folder.absolute()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
                self._write_files(Path(beside) / "new")
                if folder.exists():
                    os.rename(folder, Path(beside) / "old")
                os.rename(Path(beside) / "new", folder)
        except OSError as error:
            message = f"cannot write {folder}: {error.strerror or error}"
            raise fail("cannot-write", message, hint="check its permissions and the free space") from error
        return folder

    def _write_files(self, folder: Path) -> None:
        folder.mkdir()
        for path, content in self.files:
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _check_path(path: str) -> None:
    parts = PurePosixPath(path).parts
    is_clean = bool(parts) and str(PurePosixPath(path)) == path and ".." not in parts
    if not is_clean or path.startswith("/") or "\\" in path or ":" in path or "\0" in path:
        raise fail("unsafe-path", f"a file of a bundle needs a relative path without '..', not {path!r}")
