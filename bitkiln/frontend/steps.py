"""Resumable steps: an artefact carries the digest of what it was made from, and is made again only if that changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bitkiln
from bitkiln.ir import fail, write_whole

STAMPS = ".steps"


@dataclass(frozen=True)
class Step:
    """`key` is plain data of everything that the step's result depends on; `run` writes the files named `outputs`."""

    name: str
    outputs: tuple[str, ...]
    key: Callable[[], object]
    run: Callable[[], None]


def do_step(step: Step, folder: Path, force: bool = False) -> bool:
    """Run the step unless its stamp in `folder` says that it is done and its outputs are what it wrote.

    Returns whether it had to run. The stamp comes last: a step that was killed is done again.
    """
    stamp = folder / STAMPS / f"{step.name}.json"
    digest = digest_of([step.key(), package_digest()])
    if not force and _is_done(stamp, digest, folder, step.outputs):
        return False
    stamp.unlink(missing_ok=True)
    step.run()
    content = {"inputs": digest, "outputs": {name: file_digest(folder / name) for name in step.outputs}}
    write_whole(stamp, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return True


def _is_done(stamp: Path, digest: str, folder: Path, outputs: Sequence[str]) -> bool:
    try:
        content = json.loads(stamp.read_text())
        return bool(
            content["inputs"] == digest
            and all(content["outputs"].get(name) == file_digest(folder / name) for name in outputs)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def digest_of(plain: object) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_digest(folder: Path) -> str:
    """Return the SHA-256 of the Python files in `folder`: a model file may import its neighbours."""
    return digest_of({path.name: file_digest(path) for path in sorted(folder.glob("*.py"))})


@cache
def package_digest() -> str:
    """Return the SHA-256 of bitkiln itself: another version's artefacts are made again."""
    root = Path(bitkiln.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in {".py", ".j2", ".toml", ".cpp", ".css", ".js"})
    return digest_of({str(path.relative_to(root)): file_digest(path) for path in files})


def check_output_folder(folder: Path) -> None:
    """Make the folder, or raise ToolError `cannot-write`."""
    try:
        (folder / STAMPS).mkdir(parents=True, exist_ok=True)
        write_whole(folder / STAMPS / ".probe", b"")
        (folder / STAMPS / ".probe").unlink()
    except OSError as error:
        raise fail("cannot-write", f"the output folder {folder} cannot be written: {error.strerror}") from None
