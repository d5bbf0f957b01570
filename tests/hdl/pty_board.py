"""A simulated board at the end of a pseudo-terminal: a host program opens it like any serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from types import TracebackType

from bitkiln.hdl.uart_simulation import UartSimulation

CYCLES_AT_A_TIME = 2000


class PtyBoard:
    """Carries bytes between a pseudo-terminal and a simulation, which runs all the while. `path` is the port.

    with PtyBoard(simulation) as board, SerialPort(board.path, 1_000_000) as port:
        Device(port).identify()
    """

    def __init__(self, simulation: UartSimulation) -> None:
        self._simulation = simulation
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> PtyBoard:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def reset(self) -> None:
        """Press the reset button, now."""
        with self._lock:
            self._simulation.reset()

    def unplug(self) -> None:
        """Take the board away; twice is no mistake."""
        if not self._is_over.is_set():
            self._is_over.set()
            self._thread.join()
            os.close(self._theirs)
            os.close(self._ours)

    def _carry(self) -> None:
        while not self._is_over.is_set():
            is_ready, _, _ = select.select((self._ours,), (), (), 0)
            with contextlib.suppress(BlockingIOError, OSError):
                if is_ready:
                    self._simulation.write(os.read(self._ours, 4096))
            with self._lock:
                came = self._simulation.run(CYCLES_AT_A_TIME)
            if came:
                os.write(self._ours, came)
