"""Live updates of the desk: told once for all who listen, ended with the session, nobody's activity."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from console.live import Beacon, stream
from incidents.queries import latest_events
from incidents.session import Database
from incidents.states import Acknowledge
from incidents.trouble import DatabaseTrouble
from tests.console_city import served
from tests.console_world import World, client, submit, world
from tests.make_chime import FILE, chime

AT = datetime(2026, 11, 24, 2, 20, tzinfo=UTC)


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


def listen(
    beacon: Beacon, after: int = 0, alive: Callable[[], bool] = lambda: True, beat_s: float = 60.0
) -> AsyncIterator[str]:
    return stream(beacon, after=after, alive=alive, now=lambda: AT, beat_s=beat_s)


async def until(lines: AsyncIterator[str], word: str) -> str:
    async for line in lines:
        if word in line:
            return line
    raise AssertionError(f"the stream ended without {word}")


def test_one_look_serves_all_who_listen_and_nobody_looks_for_nobody() -> None:
    looking = [0, 0]  # looks under way, the most ever at once
    newest = [7]

    def look() -> int:
        looking[0] += 1
        looking[1] = max(looking)
        time.sleep(0)  # a second looker would get in here
        looking[0] -= 1
        return newest[0]

    async def play() -> None:
        beacon = Beacon(look, every_s=0)
        desks = [listen(beacon) for _ in range(20)]
        watchers = set()
        for desk in desks:
            assert "id: 7" in await until(desk, "event: change")
            watchers.add(beacon._watch)
        newest[0] = 8
        told = await asyncio.gather(*(until(desk, "id: 8") for desk in desks))
        assert len(told) == 20
        assert len(watchers) == 1, "all listen to one watcher"
        assert looking[1] == 1, "which looks once at a time"
        for desk in desks:
            await desk.aclose()  # type: ignore[attr-defined]
        # the watcher ends with its last listener
        watch = beacon._watch
        assert watch is not None
        await watch

    asyncio.run(play())


def test_what_the_page_shows_already_is_not_told_again() -> None:
    async def play() -> None:
        beacon = Beacon(lambda: 7, every_s=0)
        lines = listen(beacon, after=7, beat_s=0.001)
        assert "event: beat" in await until(lines, "event:")
        assert "event: beat" in await until(lines, "event:")
        assert "event: change" in await until(listen(beacon, after=6, beat_s=0.001), "event: change")

    asyncio.run(play())


def test_a_stream_ends_with_its_session_and_with_the_server() -> None:
    logged_in = {"lin": True}

    async def play() -> None:
        beacon = Beacon(lambda: 7, every_s=0)
        lines = listen(beacon, alive=lambda: logged_in["lin"], beat_s=0.001)
        await until(lines, "event: change")
        logged_in["lin"] = False
        await until(lines, "event: end")
        assert [line async for line in lines] == []
        other = listen(beacon)
        await until(other, "event: change")
        beacon.close()
        assert [line async for line in other] == []
        assert beacon.full

    asyncio.run(play())


def test_a_database_in_trouble_does_not_end_the_stream() -> None:
    answers = iter([7])

    def look() -> int:
        try:
            return next(answers)
        except StopIteration:
            raise DatabaseTrouble("locked") from None

    async def play() -> None:
        beacon = Beacon(look, every_s=0)
        lines = listen(beacon, beat_s=0.001)
        await until(lines, "id: 7")
        for _ in range(3):
            await until(lines, "event: beat")

    asyncio.run(play())


def test_the_desk_hears_of_an_act_over_http_but_not_of_a_look(town: World) -> None:
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    browser = client(town)
    page = browser.get("/").text
    after = page.split('data-mark="', 1)[1].split(".", 1)[0]
    with served(town) as address, httpx.Client(cookies=dict(browser.cookies), timeout=30) as line:
        with line.stream("GET", f"{address}/desk/events?after={after}") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            lines = answer.iter_lines()
            assert any(text == "event: beat" for text in lines)
            assert browser.get(f"/incidents/{incident.number}").status_code == 200  # a look
            town.act(incident, Acknowledge(epoch=incident.epoch))
            told = int(next(text for text in lines if text.startswith("id:")).removeprefix("id:"))
        with town.db.reading() as session:
            kinds = {event.seq: event.kind for event in latest_events(session)}
        assert "viewed" in kinds.values()
        assert kinds[told] != "viewed", "a look rings no bell"
        again = {"Last-Event-ID": "1"}
        with line.stream("GET", f"{address}/desk/events?after={after}", headers=again) as answer:
            missed = (text for text in answer.iter_lines() if text == "event: change")
            assert next(missed), "what was missed while the line was broken is told"


def test_strangers_hear_nothing_and_listening_is_nobody_s_activity(town: World) -> None:
    assert client(town, None).get("/desk/events").status_code == 303
    browser = client(town)
    # no stream begins in this process any more: each answer is one refused call of an empty chair
    browser._transport._inner.app.state.live.close()  # type: ignore[attr-defined]
    for _ in range(4):
        town.now += timedelta(minutes=9)
        assert browser.get("/desk/events").status_code in (503, 303)
    assert browser.get("/").status_code == 303, "36 minutes without a person"


def test_the_sound_is_what_its_script_makes() -> None:
    assert FILE.read_bytes() == chime()
    assert len(chime()) < 8000


def test_the_thumb_s_button_acknowledges_the_first_page_without_scripts(town: World) -> None:
    town.incident("小事", ["停水", "停水了"], domain="housing")
    urgent = town.incident("大事", ["食物中毒", "住院了"], level="major", track="fast")
    town.run()
    browser = client(town)
    html = browser.get("/").text
    bar = html.split('<form class="thumb', 1)[1].split("</form>", 1)[0]
    assert "大事" in bar
    assert "还有 1 起" in bar
    assert submit(browser, html, f"/incidents/{urgent.number}/ack").status_code == 303
    assert "小事" in browser.get("/").text.split('<form class="thumb', 1)[1].split("</form>", 1)[0]
