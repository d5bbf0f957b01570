"""Compiled simulations are built once, and again when their file is not what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitkiln.hdl._artefacts import built
from bitkiln.hdl.bundle import Bundle

SOURCE = Bundle.of({"top.il": b"module"})


class Compiler:
    """Counts its runs; the program is the sources' length."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.runs = cache, 0

    def __call__(self, folder: Path) -> Path:
        self.runs += 1
        (folder / "out").write_bytes(b"program " + (folder / "top.il").read_bytes())
        return folder / "out"

    def built(self, bundle: Bundle = SOURCE, version: str = "1") -> Path:
        return built(self.cache, bundle, ("yosys", version), ".so", self)


def test_once_for_each_source_and_version(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path)
    first = compiler.built()
    assert first.read_bytes() == b"program module"
    assert (compiler.built(), compiler.runs) == (first, 1)
    others = {compiler.built(version="2"), compiler.built(Bundle.of({"top.il": b"other"}))}
    assert (len(others - {first}), compiler.runs) == (2, 3)


@pytest.mark.parametrize("damage", [b"", b"program", b"program modulE"])
def test_a_damaged_file_is_built_again(tmp_path: Path, damage: bytes) -> None:
    compiler = Compiler(tmp_path)
    file = compiler.built()
    file.write_bytes(damage)
    assert compiler.built().read_bytes() == b"program module"
    assert compiler.runs == 2
    compiler.built()
    assert compiler.runs == 2


def test_a_lost_digest_is_a_damage_too(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path)
    file = compiler.built()
    file.with_name(f"{file.name}.sha256").unlink()
    compiler.built()
    assert compiler.runs == 2
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".sha256", ".so"]
