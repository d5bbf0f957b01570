"""A serial port as bytes to and from a device, by the system's own calls: POSIX has all that it takes.

Whatever can be wrong with a port becomes one error that says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import tty
from pathlib import Path
from types import TracebackType

from bitkiln.ir import ToolError, fail

READ_TIMEOUT_S = 0.05
WRITE_TIMEOUT_S = 10.0
_PORTS = ("ttyUSB*", "ttyACM*")
_GONE = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF)


def attached_ports(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the USB serial ports that the system has now."""
    return tuple(sorted(str(path) for pattern in _PORTS for path in devices.glob(pattern)))


class SerialPort:
    """An open port, 8 data bits, no parity, one stop bit, that no other program can use meanwhile.

    `read` waits at most `READ_TIMEOUT_S` and returns no bytes if none came; `write` returns when the system has taken
    all. Raises `no-port`, `not-a-port`, `port-busy`, `no-permission` and `wrong-baud` when it is opened, `port-lost`
    when the board is unplugged, `port-stuck` when nothing can be sent.

        with SerialPort("/dev/ttyUSB1", 1_000_000) as port:
            Device(port).identify()
    """

    def __init__(self, path: str, baud: int, *, write_timeout_s: float = WRITE_TIMEOUT_S) -> None:
        self.path = path
        self._write_timeout_s = write_timeout_s
        speed = _speed(baud)
        self._file = _opened(path)
        try:
            _set_up(self._file, speed)
        except (OSError, termios.error) as error:
            self.close()
            raise _cannot_open(path, error.args[0]) from error

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back; closing twice is no mistake."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._file, termios.TIOCNXCL)
            os.close(self._file)
            self._file = -1

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes."""
        try:
            is_ready, _, _ = select.select((self._file,), (), (), READ_TIMEOUT_S)
            came = os.read(self._file, size) if is_ready else None
        except OSError as error:
            raise self._lost(error) from error
        if came == b"":  # ready, but nothing to read: the other end has gone
            raise self._lost(None)
        return came or b""

    def write(self, data: bytes, /) -> None:
        """Send all of `data`."""
        left = memoryview(data)
        while left:
            try:
                _, is_ready, _ = select.select((), (self._file,), (), self._write_timeout_s)
                left = left[os.write(self._file, left) if is_ready else 0 :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost(error) from error
            if not is_ready:
                message = f"{self.path} took no byte for {self._write_timeout_s:g} s"
                raise fail("port-stuck", message, hint="unplug the board and plug it in again")

    def _lost(self, error: OSError | None) -> ToolError:
        assert error is None or error.errno in _GONE, error
        hint = "plug the board in again and repeat the command; nothing was changed in it"
        return fail("port-lost", f"{self.path} has gone while it was in use", hint=hint)


def _speed(baud: int) -> int:
    speed = getattr(termios, f"B{baud}", None)
    if speed is None or baud == 0:
        known = sorted(int(name[1:]) for name in vars(termios) if name[:1] == "B" and name[1:].isdigit())
        choice = ", ".join(str(value) for value in known if value >= 9600)
        raise fail("wrong-baud", f"the system's serial ports cannot do {baud} baud", hint=f"one of {choice}")
    return int(speed)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise _cannot_open(path, error.errno) from error


def _set_up(file: int, speed: int) -> None:
    tty.setraw(file)  # first: what is no terminal fails here
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.ioctl(file, termios.TIOCEXCL)
    settings = termios.tcgetattr(file)
    settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    settings[4] = settings[5] = speed
    termios.tcsetattr(file, termios.TCSANOW, settings)
    termios.tcflush(file, termios.TCIOFLUSH)


def _cannot_open(path: str, number: int | None) -> ToolError:
    match number:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            ports = attached_ports()
            hint = f"there is {', '.join(ports)}" if ports else "no USB serial port is there: is the board plugged in?"
            return fail("no-port", f"there is no serial port {path}", hint=hint)
        case errno.EACCES | errno.EPERM:
            hint = f"join the group that owns it (on Debian: sudo usermod -aG dialout {_user()}) and log in again"
            return fail("no-permission", f"you may not use {path}", hint=hint)
        case errno.EBUSY | errno.EAGAIN:
            hint = "close the terminal or the other bitkiln that has it open"
            return fail("port-busy", f"another program uses {path}", hint=hint)
        case errno.ENOTTY | errno.EISDIR | errno.EINVAL:
            return fail("not-a-port", f"{path} is no serial port", hint="a board's port is called like /dev/ttyUSB1")
        case _:
            reason = os.strerror(number) if number else "unknown reason"
            return fail("no-port", f"{path} cannot be opened: {reason}")


def _user() -> str:
    return os.environ.get("USER", "$USER")
