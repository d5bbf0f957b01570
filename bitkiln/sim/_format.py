"""Numbers as people read them: grouped digits, three significant figures, a unit of fitting size."""

from __future__ import annotations

NOT_RUN = "not run"
NONE = "-"

_ENERGIES = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count_text(count: int | None) -> str:
    """Return a whole number with grouped digits."""
    return NONE if count is None else f"{count:,}"


def short_count(count: float) -> str:
    """Return a number of about four characters: 4.26 k."""
    return _scaled(count, _COUNTS, "")


def energy_text(energy_pj: float) -> str:
    """Return an energy in pJ to J."""
    return _scaled(energy_pj, _ENERGIES, "pJ")


def time_text(seconds: float) -> str:
    """Return a time in ns to s."""
    return _scaled(seconds * 1e9, tuple((scale * 1e9, unit) for scale, unit in _TIMES), "ns")


def bytes_text(count: float) -> str:
    """Return a number of bytes, in powers of 1000."""
    return _scaled(count, _BYTES, "B")


def bits_text(bits: int) -> str:
    """Return a number of bits as bytes, or as bits where that would be a fraction."""
    return bytes_text(bits / 8) if bits >= 8 or not bits else f"{bits} bits"


def percent_text(share: float) -> str:
    """Return a share as per cent, with one digit behind the point."""
    return f"{100 * share:.1f} %"


def ratio_text(ratio: float) -> str:
    """Return how many times something is something else."""
    return f"{_digits(ratio)}x"


def rate_text(per_second: float) -> str:
    """Return images a second."""
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{_digits(per_second)}/s"


def number_text(value: float) -> str:
    """Return a number with up to three significant figures, whole digits kept."""
    return f"{value:,.0f}" if abs(value) >= 1000 else _digits(value)


def shortened(text: str, length: int) -> str:
    """Return `text`, its middle left out if it is longer than `length`."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def _scaled(value: float, units: tuple[tuple[float, str], ...], base: str) -> str:
    for scale, unit in units:
        if value >= scale:
            return f"{_digits(value / scale)} {unit}"
    return f"{_digits(value)} {base}".rstrip()


def _digits(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
