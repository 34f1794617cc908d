"""Searches in the plural: saved ones with their alerts, two to four side by side, and a random sample of one."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console import timeline
from console.context import RowId, Visit, member
from console.errors import error_page
from console.forms import Posted, own_form
from console.render import page
from console.rights import need_posts
from console.say import Say
from console.views.search import (
    POST_FACETS,
    address,
    ask,
    label,
    needles,
    numbers_of,
    read,
    record_search,
    understood,
)
from incidents import labels, lifecycle, saved_searches
from incidents.asked import KEYS, read_asked
from incidents.counting import Counted, Numbers
from incidents.search import CAP, count_posts, posts_by_id

router = APIRouter(include_in_schema=False)
SIDES = 4
#: posts of a sample
SAMPLE, MOST_SAMPLE = 50, 500


# --- saved


@router.get("/searches")
def saved_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """One's own searches and those that others share."""
    need_posts(here)
    with here.console.db.reading() as session:
        found = saved_searches.of_person(session, here.account.login)
    zone = here.console.zone
    return page(
        here,
        "searches.html",
        rows=[(one, address(read_asked(one.asked, zone))) for one in found],
        done=here.done,
    )


@router.post("/searches")
def keep(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Keep a search; the same name again replaces it."""
    need_posts(here)
    asked = read_asked({key: form.text(key, 600) for key in KEYS}, here.console.zone)
    name = form.text("name", 80)
    threshold = min(max(form.integer("threshold") or 0, 0), 1_000_000)
    problem = ""
    if not name:
        problem = "请给这个检索起一个名字。"
    elif understood(here, read(here, asked.values))[0] is None:
        problem = "这个检索的查询有误，请先改正再保存。"
    else:
        with here.console.db.transaction() as session:
            kept = saved_searches.keep(
                session,
                here.account.login,
                name,
                dict(asked.values),
                shared=form.get("shared") == "1",
                threshold=threshold,
                window_h=form.integer("window_h") or 24,
                now=here.now,
            )
            if kept is None:
                problem = "保存的检索已满，请先删除几个。"
            else:
                _record(here, session, kept, "search_saved")
    if problem:
        return page(
            here,
            "error.html",
            status=422,
            title=here.t("没有保存"),
            sentence=here.t(problem),
            reference="",
        )
    return RedirectResponse("/searches?done=search_saved", 303)


@router.post("/searches/{id}/remove")
def remove(
    here: Annotated[Visit, Depends(member)], id: RowId, form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Forget one of one's own."""
    need_posts(here)
    with here.console.db.transaction() as session:
        gone = saved_searches.remove(session, id, here.account.login)
        if gone is not None:
            _record(here, session, gone, "search_removed")
    return RedirectResponse("/searches?done=search_removed", 303) if gone else error_page(here.request, 404)


def _record(here: Visit, session: Any, one: saved_searches.SavedView, kind: str) -> None:
    lifecycle.record_act(
        session,
        kind,
        {
            "name": one.name,
            "asked": one.asked,
            "shared": one.shared,
            "threshold": one.threshold,
            "window_h": one.window_h,
        },
        actor=here.account.login,
        channel="console",
        now=here.now,
    )


# --- side by side


@router.get("/search/compare")
def compare(here: Annotated[Visit, Depends(member)]) -> Response:
    """Two to four queries over posts within the same conditions: totals, bars on one scale, fields beside each other."""
    need_posts(here)
    given = dict(here.request.query_params)
    queries = [text.strip()[:500] for text in here.request.query_params.getlist("q")][:SIDES]
    base = read(here, {**given, "kind": "posts", "q": ""})
    say, zone = Say(here), here.console.zone
    sides: list[dict[str, Any]] = []
    counts: list[Counted] = []
    for text in queries:
        if not text:
            continue
        wanted = read(here, {**given, "kind": "posts", "q": text})
        query, error, pointer = understood(here, wanted)
        side: dict[str, Any] = {"q": text, "error": error, "pointer": pointer, "href": address(wanted.asked)}
        if query is not None:
            with here.console.db.reading() as session:
                found = count_posts(session, query, filters=wanted.filters, cap=CAP)
                shares = found.facets(session)
            record_search(here, wanted, found.total)
            counts.append(found)
            side |= {"found": found, "facets": shares}
        sides.append(side)
    good = [side for side in sides if "found" in side]
    unit = _common_unit(counts, zone, base.unit)
    rows = {side["q"]: dict(side["found"].timeline(zone, unit)) for side in good}
    begins = sorted({begin for row in rows.values() for begin in row})
    top = max((count for row in rows.values() for count in row.values()), default=1)
    return page(
        here,
        "compare.html",
        status=422 if len(good) < len(sides) else 200,
        queries=queries,
        most=SIDES,
        asked=base.asked,
        sides=sides,
        good=good,
        unit=unit,
        columns=[
            (timeline.label(unit, begin), [(rows[side["q"]].get(begin, 0)) for side in good])
            for begin in begins[-timeline.MOST :]
        ],
        top=top,
        fields=_beside(say, good),
        problems=base.problems,
    )


def _common_unit(counts: list[Counted], zone: Any, wish: str) -> str:
    drawn = [timeline.drawn(lambda unit, one=one: one.timeline(zone, unit), wish) for one in counts]  # type: ignore[misc]
    order = ("hour", "day", "week", "month")
    return max((one.unit for one in drawn if one is not None), key=order.index, default="day")


def _beside(say: Say, good: list[dict[str, Any]]) -> list[tuple[str, list[tuple[str, list[int]]]]]:
    """Title, then each value with its numbers, the most frequent first."""
    found = []
    for name, title in POST_FACETS:
        codes = {code for side in good for code in side["facets"][name] if code or name == "tone"}
        rows = [
            (label(say, name, code), [side["facets"][name].get(code, 0) for side in good]) for code in codes
        ]
        rows.sort(key=lambda row: (-max(row[1]), row[0]))
        if rows:
            found.append((say.here.t(title), rows[:10]))
    return found


# --- sample


@router.get("/search/sample")
def sample(here: Annotated[Visit, Depends(member)]) -> Response:
    """A random sample of what a search finds. The same seed gives the same posts again, as long as they are there."""
    need_posts(here)
    wanted = ask(here)
    query, error, pointer = understood(here, wanted)
    get = here.request.query_params.get
    size = min(max(_whole(get("n"), SAMPLE), 1), MOST_SAMPLE)
    seed = min(max(_whole(get("seed"), 1), 0), 2**31 - 1)
    values: dict[str, Any] = {
        "ask": wanted,
        "asked": wanted.asked,
        "error": error,
        "pointer": pointer,
        "needles": needles(query.node) if query else [],
        "size": size,
        "seed": seed,
        "rows": [],
        "total": 0,
        "numbers": {},
        "said": {},
        "back": address(wanted.asked),
        "permalink": address(wanted.asked, "/search/sample", n=size, seed=str(seed)),
    }
    if query is not None:
        with here.console.db.reading() as session:
            found = count_posts(session, query, filters=wanted.filters)
            rows = posts_by_id(session, drawn_ids(found.ids, size, seed))
            values |= {
                "rows": rows,
                "total": found.total,
                "numbers": numbers_of(session, rows),
                "said": labels.latest(session, [row.id for row in rows]),
            }
        if rows:
            record_search(here, wanted, found.total)
    return page(here, "sample.html", status=422 if error else 200, **values)


def _whole(raw: str | None, usual: int) -> int:
    try:
        return int((raw or "")[:12])
    except ValueError:
        return usual


def drawn_ids(ids: Numbers, size: int, seed: int) -> list[int]:
    """The posts whose numbers, mixed with the seed, are the smallest: each post has the same chance, and new posts hardly change who is drawn."""
    mixed = ids.astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    # splitmix64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    chosen = ids[np.argsort(mixed, kind="stable")[:size]]
    return sorted((int(id_) for id_ in chosen), reverse=True)
