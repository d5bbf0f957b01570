"""A serial port that cannot be used: each reason has its own message."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.hdl import serial_port
from bitkiln.hdl.serial_port import SerialPort, attached_ports
from bitkiln.ir import ToolError


def error(path: object, baud: int = 1_000_000) -> str:
    with pytest.raises(ToolError) as caught:
        SerialPort(str(path), baud)
    return str(caught.value)


def test_no_board_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "attached_ports", lambda: ())
    assert error(tmp_path / "ttyUSB0") == (
        f"error[no-port]: there is no serial port {tmp_path}/ttyUSB0\n"
        "  help: no USB serial port is there: is the board plugged in?"
    )


def test_another_port_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ttyUSB1", "ttyACM0", "ttyS0"):
        (tmp_path / name).touch()
    ports = attached_ports(tmp_path)
    assert ports == (f"{tmp_path}/ttyACM0", f"{tmp_path}/ttyUSB1")
    monkeypatch.setattr(serial_port, "attached_ports", lambda: ports)
    assert error(tmp_path / "ttyUSB0").endswith(f"\n  help: there is {tmp_path}/ttyACM0, {tmp_path}/ttyUSB1")


def test_permission_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setenv("USER", "potter")
    assert error("/dev/ttyUSB0") == (
        "error[no-permission]: you may not use /dev/ttyUSB0\n"
        "  help: join the group that owns it (on Debian: sudo usermod -aG dialout potter) and log in again"
    )


def test_a_file_is_no_port(tmp_path: Path) -> None:
    file = tmp_path / "ttyUSB0"
    file.write_text("not a port")
    hint = "  help: a board's port is called like /dev/ttyUSB1"
    assert error(file) == f"error[not-a-port]: {file} is no serial port\n{hint}"
    assert error(tmp_path) == f"error[not-a-port]: {tmp_path} is no serial port\n{hint}"
    assert error("/dev/null") == f"error[not-a-port]: /dev/null is no serial port\n{hint}"


def test_a_speed_that_the_system_does_not_have() -> None:
    message, hint = error("/dev/ttyUSB0", 1_000_001).splitlines()
    assert message == "error[wrong-baud]: the system's serial ports cannot do 1000001 baud"
    assert hint.startswith("  help: one of 9600, 19200, ")
    assert error("/dev/ttyUSB0", 0).startswith("error[wrong-baud]")


def test_nobody_takes_the_bytes() -> None:
    ours, theirs = os.openpty()
    try:
        with SerialPort(os.ttyname(theirs), 1_000_000, write_timeout_s=0.1) as port, pytest.raises(ToolError) as caught:
            port.write(bytes(1 << 20))  # nobody reads the other end
        assert str(caught.value) == (
            f"error[port-stuck]: {os.ttyname(theirs)} took no byte for 0.1 s\n"
            "  help: unplug the board and plug it in again"
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_another_program_has_the_port() -> None:
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    try:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert error(path) == (
            f"error[port-busy]: another program uses {path}\n"
            "  help: close the terminal or the other bitkiln that has it open"
        )
        fcntl.flock(theirs, fcntl.LOCK_UN)
        with SerialPort(path, 1_000_000):
            assert error(path).startswith("error[port-busy]: ")
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_board_is_unplugged() -> None:
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    with SerialPort(path, 1_000_000) as port:
        os.close(theirs)
        os.close(ours)
        for use in (lambda: port.write(b"1"), lambda: port.read(1)):
            with pytest.raises(ToolError) as caught:
                use()
            assert str(caught.value) == (
                f"error[port-lost]: {path} has gone while it was in use\n"
                "  help: plug the board in again and repeat the command; nothing was changed in it"
            )
