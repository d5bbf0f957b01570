"""Compiled simulations on disk, by digest of all that goes into them: built once, written whole or not at all.

Beside each stands the digest of its own bytes: one that was damaged since is built again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bitkiln.ir import fail

from .bundle import Bundle


def default_cache_folder() -> Path:
    """Return the user's folder for compiled simulations (the XDG base directory rules)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "bitkiln" / "sim"


def built(
    cache_folder: Path,
    bundle: Bundle,
    identity: Sequence[str],
    suffix: str,
    build: Callable[[Path], Path],
) -> Path:
    """Return the file that `build` makes from the bundle's files, from the cache if it was built before.

    `build` gets a folder with the files and returns the one that is kept. `identity` is what the result depends on
    beside the bundle: commands and tool versions. Raises `cannot-write`, and what `build` raises.
    """
    total = hashlib.sha256()
    for part in (bundle.digest(), *identity):
        total.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    kept = cache_folder.absolute() / f"{total.hexdigest()[:32]}{suffix}"
    if _is_whole(kept):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building.", dir=kept.parent) as scratch:
            new = build(bundle.write(Path(scratch) / "files"))
            digest = new.with_name("digest")
            digest.write_text(_digest(new))
            new.replace(kept)
            digest.replace(_digest_path(kept))
    except OSError as error:
        message = f"cannot write {kept}: {error.strerror or error}"
        raise fail("cannot-write", message, hint="name another cache folder, or check the free space") from error
    return kept


def _is_whole(kept: Path) -> bool:
    """True if the file has the bytes that were written. It is executed: half a file would end this process."""
    try:
        return _digest_path(kept).read_text() == _digest(kept)
    except (OSError, UnicodeDecodeError):
        return False


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest_path(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")
