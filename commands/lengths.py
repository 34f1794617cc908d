"""A length of time on a terminal, in one unit."""

from __future__ import annotations

from datetime import timedelta


def span(length: timedelta | None) -> str:
    """Seconds below two minutes, minutes below two hours, hours below two days, else days; "-" for None."""
    if length is None:
        return "-"
    seconds = length.total_seconds()
    minutes = seconds / 60
    if abs(minutes) < 2:
        return f"{seconds:.0f} s"
    if abs(minutes) < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if abs(minutes) < 2880 else f"{minutes / 1440:.1f} d"
