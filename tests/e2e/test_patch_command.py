"""`bitkiln build --patch` and `--storage`: what is refused, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitkiln.cli import main
from tests.projects import Tiny

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
pytest.importorskip("amaranth_boards", reason='boards need pip install "bitkiln[boards]"')


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err.strip()


def test_another_family_is_not_patched(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, out = str(tmp_path / "old.bit"), str(tmp_path / "out")
    said = error_of(["build", str(tiny.graph), "--patch", old, "--board", "ulx3s-85f", "-o", out], capsys)
    assert said == (
        "error[not-patchable]: weights can be put into finished bitstreams of iCE40, and ULX3S-85F (ECP5 LFE5U-85F) is "
        "ecp5\n  help: leave --patch out; or let the host load them: --storage loaded"
    )
    assert not Path(out).exists()


def test_a_bitstream_without_its_record(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(b"")
    arguments = ["build", str(tiny.graph), "--patch", str(old), "--board", "icebreaker", "-o", str(tmp_path / "out")]
    assert error_of(arguments, capsys) == (
        f"error[missing-file]: {tmp_path}/old.renewal.json is missing: the record of {old}, by which bits of memories "
        "are found\n  help: `bitkiln build --renewable` writes it beside the bitstream"
    )
    (tmp_path / "old.renewal.json").write_text("{}")
    assert "error[bad-record]" in error_of(arguments, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--storage", "disk"], "error[bad-value]: --storage: weights cannot be stored as 'disk'"),
        (["--storage", "lut", "--renewable"], "weights in LUTs are not renewable, as those of *"),
        (["--weight-banks", "3"], "weight_banks must be 1 or 2, not 3"),
        (["--storage", "nothing=big"], "error[bad-folding]: no layer is called 'nothing'"),
    ],
)
def test_wrong_options(options: list[str], says: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in error_of(["simulate", str(tiny.graph), *options], capsys)


def test_weights_of_the_host(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tiny.graph), "--storage", "big", "--weight-banks", "2", "--renewable", "--json"]) == 0
    with_host = capsys.readouterr().out
    assert main(["simulate", str(tiny.graph), "--json"]) == 0
    usual = capsys.readouterr().out
    assert with_host.split('"interval"')[1].split(",")[0] == usual.split('"interval"')[1].split(",")[0]
