"""Charts of the report as PNG: readable in grey print and on a phone, with Chinese from a font that ships in a package.

Each chart has a text alternative (`reports.words`), because many mail clients show no pictures. The same model gives
the same bytes: no date and no software name is written into the file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pylopdf_fonts_zh_cn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

#: shown width in the mail, pixels; drawn at twice that for sharp screens
WIDTH = 640
_DPI = 200
#: bars that have room for their numbers and labels
_NUMBERED = 12
_INK, _NEG, _NEU, _POS, _GRID, _OLD = "#1f2d3d", "#9b1c1c", "#8fa3b8", "#dbe4ee", "#d9dfe6", "#6b7785"


def _font(size: float) -> FontProperties:
    return FontProperties(fname=str(pylopdf_fonts_zh_cn.sans_path()), size=size)


def _canvas(height: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 100, height / 100), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.07, 0.14, 0.91, 0.70))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_OLD)
    axes.tick_params(length=0, colors=_INK)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return target.getvalue()


def _legend(axes: Axes, columns: int, handle: float = 1.4) -> None:
    """The names of what is drawn, in one row above the chart; `handle` is the length of a sample in letters."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=columns,
        frameon=False,
        prop=_font(11.5),
        handlelength=handle,
        columnspacing=1.3,
        handletextpad=0.5,
        borderpad=0.2,
    )


def _letter(axes: Axes, size: float) -> None:
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(_font(size))
        label.set_color(_INK)


def days_chart(
    days: Sequence[str],
    tones: Sequence[tuple[int, int, int]],
    totals: Sequence[int],
    before: Sequence[int | None],
    names: Sequence[str],
    slots: int = 7,
) -> bytes:
    """Posts a day (hour, month), stacked by tone (negative, neutral, positive, not judged yet), with the period before as a line.

    `slots`: bars of the whole period, also while it runs; the numbers above them are left out where there are too many.
    `names`: legend texts of negative, neutral, positive, not judged, week before.
    """
    figure, axes = _canvas(280)
    places = range(len(days))
    base = [0] * len(days)
    rest = [total - sum(tone) for total, tone in zip(totals, tones, strict=True)]
    layers = [[tone[index] for tone in tones] for index in range(3)] + [rest]
    # lightness and hatching differ, so that the layers can be told apart without colour
    styles = ((_NEG, ""), (_NEU, "\\\\"), (_POS, ".."), ("white", "////"))
    for layer, (colour, hatch), name in zip(layers, styles, names[:4], strict=True):
        if any(layer):
            axes.bar(
                places,
                layer,
                0.56,
                base,
                color=colour,
                hatch=hatch,
                edgecolor="#56657a",
                linewidth=0.5,
                label=name,
            )
            base = [below + part for below, part in zip(base, layer, strict=True)]
    if any(before):
        axes.plot(
            places,
            [float("nan") if value is None else value for value in before],
            color=_INK,
            linestyle=(0, (4, 2)),
            linewidth=1.2,
            marker="o",
            markersize=3.5,
            label=names[4],
        )
    top = max([*totals, *(value or 0 for value in before), 1])
    for place, total in zip(places, totals, strict=True):
        if slots > _NUMBERED:
            break
        axes.text(
            place,
            total + top * 0.025,
            f"{total:,}",
            ha="center",
            va="bottom",
            color=_INK,
            fontproperties=_font(11.5),
        )
    axes.set_ylim(0, top * 1.16)
    axes.set_xlim(-0.6, slots - 0.4)
    shown = range(0, len(days), 1 if slots <= _NUMBERED else 2)
    axes.set_xticks(list(shown), [days[place] for place in shown])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    _letter(axes, 11)
    _legend(axes, 5)
    return _png(figure)


def answer_chart(
    bars: Sequence[tuple[int, int, int]],
    hours: int,
    names: tuple[str, str, str],
    days: Sequence[tuple[int, str]],
) -> bytes:
    """Posts of each stretch of `hours` hours around an answer: (hours from it, posts, of these negative).

    `names`: legend texts of negative, others, the answer. `days`: ticks as (hours from the answer, text).
    """
    figure, axes = _canvas(250)
    places = [at + hours / 2 for at, _posts, _negative in bars]
    bad = [negative for _at, _posts, negative in bars]
    rest = [posts - negative for _at, posts, negative in bars]
    for layer, below, colour, hatch, name in (
        (bad, [0] * len(bad), _NEG, "", names[0]),
        (rest, bad, _POS, "..", names[1]),
    ):
        axes.bar(
            places, layer, hours * 0.8, below,
            color=colour, hatch=hatch, edgecolor="#56657a", linewidth=0.5, label=name,
        )  # fmt: skip
    axes.axvline(0, color=_INK, linestyle=(0, (4, 2)), linewidth=1.4, label=names[2])
    axes.set_ylim(0, max([posts for _at, posts, _negative in bars] + [1]) * 1.12)
    axes.set_xlim(bars[0][0] - hours / 2, bars[-1][0] + hours * 1.5)
    axes.set_xticks([at for at, _text in days], [text for _at, text in days])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    _letter(axes, 11)
    _legend(axes, 3, 1.8)
    return _png(figure)


def changes_chart(
    labels: Sequence[str],
    own: Sequence[tuple[float, float, float]],
    against: Sequence[tuple[float, float, float] | None],
    names: tuple[str, str],
) -> bytes:
    """Changes as dots with their 95 % intervals, in the order given; 0 is drawn as "no change".

    `own`: (value, low, high) as shares, -0.5 for half; `against`: the same compared with others, or None. Ends beyond +200 %
    are cut: an arrow says so.
    """
    rows = len(labels)
    height = 74 + 40 * rows
    figure, axes = _canvas(height)
    left = (16 * max(sum(1 if ord(letter) > 255 else 0.56 for letter in one) for one in labels) + 12) / WIDTH
    axes.set_position((left, 34 / height, 0.95 - left, (height - 72) / height))
    most = 2.0
    for series, shift, colour, face, marker, name in (
        (own, -0.14, _INK, _INK, "o", names[0]),
        (against, 0.16, _NEG, "white", "s", names[1]),
    ):
        shown = [(place, one) for place, one in enumerate(series) if one is not None]
        for place, (_value, low, high) in shown:
            axes.plot([low, min(high, most)], [place + shift] * 2, color=colour, linewidth=1.6, zorder=2)
            if high > most:
                axes.plot([most], [place + shift], marker=">", color=colour, markersize=5, zorder=2)
        if shown:
            axes.plot(
                [min(value, most) for _place, (value, _low, _high) in shown],
                [place + shift for place, _one in shown],
                linestyle="none",
                marker=marker,
                markersize=7,
                markerfacecolor=face,
                markeredgecolor=colour,
                label=name,
                zorder=3,
            )
    axes.axvline(0, color=_OLD, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
    every = [*own, *(one for one in against if one is not None)]
    axes.set_xlim(-1.05, max(0.5, min(most, max(high for _value, _low, high in every))) + 0.08)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks(list(range(rows)), list(labels))
    ticks = [tick / 2 for tick in range(-2, 5) if tick / 2 <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:+.0%}".replace("-", "−") if tick else "0" for tick in ticks])
    axes.grid(axis="x", color=_GRID, linewidth=0.7)
    _letter(axes, 11)
    _legend(axes, 2)
    return _png(figure)


def pairs_chart(
    labels: Sequence[str], now: Sequence[int], before: Sequence[int], names: tuple[str, str]
) -> bytes:
    """Horizontal bars of this week (dark) above those of the week before (light), in the order given."""
    rows = len(labels)
    figure, axes = _canvas(64 + 38 * rows)
    height = 64 + 38 * rows
    # room for the longest label: a Chinese letter is about as wide as the type is high, a Latin one half of that
    left = (
        16 * max(sum(1 if ord(letter) > 255 else 0.56 for letter in label) for label in labels) + 12
    ) / WIDTH
    axes.set_position((left, 8 / height, 0.93 - left, (height - 40) / height))
    places = list(range(rows))
    axes.barh(
        [p - 0.19 for p in places], now, 0.36, color=_INK, edgecolor=_INK, linewidth=0.5, label=names[0]
    )
    if any(before):
        axes.barh(
            [p + 0.19 for p in places],
            before,
            0.36,
            color=_POS,
            hatch="////",
            edgecolor=_OLD,
            linewidth=0.5,
            label=names[1],
        )
    top = max([*now, *before, 1])
    for place, new, old in zip(places, now, before, strict=True):
        axes.text(
            new + top * 0.012, place - 0.2, f"{new:,}", va="center", color=_INK, fontproperties=_font(11.5)
        )
        if any(before):
            axes.text(
                old + top * 0.012,
                place + 0.2,
                f"{old:,}",
                va="center",
                color=_OLD,
                fontproperties=_font(10.5),
            )
    axes.set_xlim(0, top * 1.08)
    axes.set_ylim(rows - 0.45, -0.55)
    axes.set_yticks(places, list(labels))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(_OLD)
    _letter(axes, 11.5)
    _legend(axes, 2)
    return _png(figure)
