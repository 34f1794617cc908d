"""Small pieces that a list repeats a hundred times: times, shapes, levels, little charts.

Drawn here and not by macros of the templates, which cost ten times as much; every text in them is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from markupsafe import Markup, escape

from console.say import Say

#: width and height of a little chart
_WIDTH, _HEIGHT = 96, 24


def bars(values: Sequence[int], *, width: int = _WIDTH, height: int = _HEIGHT) -> list[dict[str, int]]:
    """Rectangles of a small bar chart that needs no script; none where there is nothing."""
    if not values:
        return []
    step, top = width / len(values), max(values)
    found = []
    for index, value in enumerate(values):
        if value:
            tall = max(round(value / top * (height - 2)), 1)
            found.append(
                {"x": round(index * step), "w": max(round(step) - 1, 1), "h": tall, "y": height - tall}
            )
    return found


class Marks:
    """The pieces of one page. What is drawn is kept for this page only: a countdown is of its moment."""

    def __init__(self, say: Say, asset: Callable[[str], str]) -> None:
        self._say = say
        self._sheet = escape(asset("img/shapes.svg"))
        self._shapes: dict[str, Markup] = {}
        self._levels: dict[str, Markup] = {}
        self._times: dict[str, Markup] = {}

    def shape(self, name: str) -> Markup:
        """A symbol; it says nothing to a screen reader, the words beside it do."""
        drawn = self._shapes.get(name)
        if drawn is None:
            drawn = self._shapes[name] = Markup(  # noqa: S704 (its parts are escaped)
                f'<svg class="shape" aria-hidden="true"><use href="{self._sheet}#{escape(name)}"></use></svg>'
            )
        return drawn

    def level(self, code: str) -> Markup:
        """The level of an incident: colour, shape and words."""
        drawn = self._levels.get(code)
        if drawn is None:
            words = escape(self._say.word("level", code))
            drawn = self._levels[code] = Markup(  # noqa: S704 (its parts are escaped)
                f'<span class="tag lv-{escape(code)}">{self.shape(code)}{words}</span>'
            )
        return drawn

    def at(self, value: datetime | None) -> Markup:
        """A time, short, with the whole of it to be read on touch."""
        if not value:
            return Markup("—")
        iso = value.isoformat()
        drawn = self._times.get(iso)
        if drawn is None:
            drawn = self._times[iso] = Markup(  # noqa: S704 (its parts are escaped)
                f'<time datetime="{iso}" title="{self._say.full(value)}">{escape(self._say.time(value))}</time>'
            )
        return drawn

    def countdown(self, due: datetime) -> Markup:
        """How long a clock still runs; the page's script counts on."""
        iso = due.isoformat()
        return Markup(  # noqa: S704 (its parts are escaped)
            f'<time class="countdown {self._say.urgency(due)}" datetime="{iso}" data-due="{iso}" '
            f'title="{self._say.full(due)}">{escape(self._say.left(due))}</time>'
        )

    def spark(self, values: Sequence[int]) -> Markup:
        """Posts of the last 24 hours as a little chart, with the numbers for those who hear the page."""
        label = escape(
            self._say.here.t("近 24 小时逐时帖数：{list}", list=" ".join(str(value) for value in values))
        )
        drawn = "".join(
            f'<rect x="{bar["x"]}" y="{bar["y"]}" width="{bar["w"]}" height="{bar["h"]}" fill="currentColor"></rect>'
            for bar in bars(values)
        )
        return Markup(  # noqa: S704 (its parts are escaped)
            f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{drawn}'
            '<path d="M0 23.5h96" stroke="currentColor" stroke-width="1" opacity=".35"></path></svg>'
        )
