"""Numbers as people read them."""

from __future__ import annotations

import pytest

from bitkiln.sim._format import (
    bits_text,
    bytes_text,
    energy_text,
    number_text,
    percent_text,
    rate_text,
    ratio_text,
    shortened,
    time_text,
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (energy_text(0), "0 pJ"),
        (energy_text(0.25), "0.25 pJ"),
        (energy_text(999), "999 pJ"),
        (energy_text(118_432), "118 nJ"),
        (energy_text(2.5e6), "2.5 µJ"),
        (energy_text(3e12), "3 J"),
        (time_text(52.025e-6), "52 µs"),
        (time_text(0.25), "250 ms"),
        (time_text(2), "2 s"),
        (time_text(1.25e-9), "1.25 ns"),
        (bytes_text(999), "999 B"),
        (bytes_text(4260), "4.26 kB"),
        (bits_text(3), "3 bits"),
        (bits_text(8000), "1 kB"),
        (percent_text(0.98765), "98.8 %"),
        (ratio_text(3.96), "3.96x"),
        (rate_text(2604.2), "2,604/s"),
        (rate_text(0.5), "0.5/s"),
        (number_text(25.0), "25"),
        (number_text(12345.6), "12,346"),
        (number_text(0.0001), "1.0e-04"),
        (shortened("short", 8), "short"),
        (shortened("features.0.conv.window", 10), "featu…ndow"),
    ],
)
def test_numbers_as_text(shown: str, expected: str) -> None:
    assert shown == expected
