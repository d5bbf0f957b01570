"""Resumable steps: what a step wrote carries the digest of what it was made from, and is made again if that changed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bitkiln
from bitkiln.ir import fail, write_whole

STAMPS = ".steps"
_LEFTOVERS = (".bitkiln.*", ".rtl.*", f"{STAMPS}/.bitkiln.*")  # of write_whole and Bundle.write, if they are killed


@dataclass(frozen=True)
class Step:
    """`key` is plain data of everything that the step's result depends on.

    `run` returns the names of the files that it wrote, relative to the output folder.
    """

    name: str
    key: Callable[[], object]
    run: Callable[[], tuple[str, ...]]


def do_step(step: Step, folder: Path, force: bool = False) -> bool:
    """Run the step unless it is done, and return whether it had to run. The steps before it must be done.

    Its stamp comes last: a step that was killed is done again.
    """
    stamp = _stamp(step, folder)
    digest = _digest(step)
    if not force and _is_done(stamp, digest, folder):
        return False
    stamp.unlink(missing_ok=True)
    outputs = step.run()
    content = {"inputs": digest, "outputs": {name: file_digest(folder / name) for name in outputs}}
    write_whole(stamp, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return True


def is_done(step: Step, folder: Path) -> bool:
    """Tell whether `do_step` would have nothing to do; false if the files of a step before it are missing."""
    try:
        return _is_done(_stamp(step, folder), _digest(step), folder)
    except FileNotFoundError:
        return False


def _stamp(step: Step, folder: Path) -> Path:
    return folder / STAMPS / f"{step.name}.json"


def _digest(step: Step) -> str:
    return digest_of([step.key(), package_digest()])


def _is_done(stamp: Path, digest: str, folder: Path) -> bool:
    """Whatever is wrong with the stamp or the files means: not done."""
    try:
        content = json.loads(stamp.read_bytes())
        outputs = dict(content["outputs"])
        return bool(
            content["inputs"] == digest
            and outputs
            and all(file_digest(folder / name) == found for name, found in outputs.items())
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def digest_of(plain: object) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(folder: Path) -> str:
    """Return the SHA-256 of the Python files that a model file in `folder` can import from there.

    Folders count if Python can name them: `blocks`, but neither `.venv` nor `site-packages`.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name.isidentifier() and name != "__pycache__"]
        found += [path for name in names if name.endswith(".py") and (path := Path(place, name)).is_file()]
    return digest_of({str(path.relative_to(folder)): file_digest(path) for path in sorted(found)})


@cache
def package_digest() -> str:
    """Return the SHA-256 of bitkiln itself: another version's artefacts are made again."""
    root = Path(bitkiln.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".pyo"})
    return digest_of({str(path.relative_to(root)): file_digest(path) for path in files})


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it during the block; what a killed run left half-done is removed.

    Raises ToolError `cannot-write` or `output-in-use`.
    """
    try:
        (folder / STAMPS).mkdir(parents=True, exist_ok=True)
        lock = (folder / STAMPS / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        message = f"another run is writing to {folder}"
        raise fail("output-in-use", message, hint="wait for it, or name another folder with -o") from None
    except OSError as error:
        message = f"the output folder {folder} cannot be written: {error.strerror}"
        raise fail("cannot-write", message, hint="-o, or [output] folder, names another one") from None
    with lock:
        for pattern in _LEFTOVERS:
            for leftover in folder.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)
        yield
