"""kill -9 of the whole product at random points of the demo's day; then: is everything there, once?

The invented city and the fake Slack live in this process and outlast every life of the product, which is one
process (crawler, judge, alerts, outbox) walking through the day. After the last kill it may finish; what it leaves
is checked against the city, against Slack and against a day that nobody interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socketserver
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sqlalchemy import select

from config.keys import load_keys
from demo.city import ZONE, load_day
from demo.fake_slack import FakeSlack
from demo.run import MORNING, Plan, main
from demo.site import CitySite
from incidents import events, rebuild
from incidents.models import Deadline, Incident, IncidentEvent, IncidentPost, Judgement, Outbox, Post, Timer
from incidents.session import Database

DAY = date(2026, 3, 3)
STEP = timedelta(minutes=15)
#: events that may stand once in an incident's history (per key of their payload)
ONCE: dict[str, tuple[str, ...]] = {
    "detected": (),
    "confirmed": (),
    "signed": (),
    "responded": (),
    "evaluated": (),
    "assigned": (),
    "deadline_opened": ("rule",),
    "rung_fired": ("step",),
    "page_sent": ("outbox",),
}
_CONTEXT = get_context("forkserver")
_BEGUN = time.monotonic()


def say(text: str) -> None:
    """One line, with the seconds since the beginning."""
    sys.stdout.write(f"[{time.monotonic() - _BEGUN:6.1f} s] {text}\n")
    sys.stdout.flush()


def live(folder: str, city: str, slack: str) -> None:
    """One life of the product: goes on with the day where it stands."""
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for the rest of this process)
    main(
        Plan(Path(folder), once=True, serve=False, resume=True, city=city, slack=slack, day=DAY, step=STEP),
        lambda text: None,
    )


class World:
    """City, Slack and data folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.city = CitySite(load_day(DAY), datetime.combine(DAY, datetime.min.time(), ZONE))
        self.slack = FakeSlack().start()

    def born(self) -> BaseProcess:
        """Start a life."""
        child = _CONTEXT.Process(target=live, args=(str(self.folder), self.city.base, self.slack.base_url))
        child.start()
        return child

    def finish(self) -> float:
        """A life that nobody ends; returns its seconds."""
        begun = time.monotonic()
        child = self.born()
        child.join(300)
        if child.exitcode != 0:
            raise AssertionError(f"the product ended with exit code {child.exitcode}")
        return time.monotonic() - begun

    def close(self) -> None:
        """Stop city and Slack."""
        self.city.close()
        self.slack.stop()

    def open(self) -> Database:
        """Its database."""
        return Database(f"sqlite:///{self.folder / 'quansheng.db'}", audit_key=load_keys(self.folder).audit)


def kill_at_random(world: World, chance: random.Random, kills: int) -> list[datetime]:
    """End the product `kills` times, at moments spread over the whole day; returns the city's time at each kill.

    A moment that an earlier life had reached already falls into the start of the next one.
    """
    begin = datetime.combine(DAY, MORNING, ZONE)
    targets = sorted(begin + timedelta(hours=chance.uniform(0, 16.5)) for _ in range(kills))
    points: list[datetime] = []
    for target in targets:
        late = world.city.now >= target
        child = world.born()
        while world.city.now < target and child.is_alive():
            time.sleep(0.002)
        # somewhere in the step, which takes about as long; or while the next life starts, recovers and goes on.
        # Never further than one step: a fast machine must not reach midnight before the last kill
        moment = time.monotonic() + chance.uniform(0, 3 if late else 0.3)
        limit = world.city.now + STEP
        while time.monotonic() < moment and world.city.now < limit and child.is_alive():
            time.sleep(0.002)
        assert child.pid is not None
        if not child.is_alive():
            raise AssertionError(
                f"the product ended by itself after {len(points)} kills, exit code {child.exitcode}"
            )
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        points.append(world.city.now)
    return points


def check(world: World) -> dict[str, Any]:
    """Every promise about what a crash leaves; returns what can be compared with another run."""
    db = world.open()
    try:
        with db.transaction() as session:
            assert not list(rebuild.differences(session)), "rows differ from the fold of their events"
        with db.reading() as session:
            verdict = events.verify(session, db.audit_key)
            assert verdict.ok, f"chain broken at {verdict.broken_at}: {verdict.reason}"
            posts = session.scalars(select(Post)).all()
            found = Counter((post.source_id, post.external_id.replace(world.city.base, "")) for post in posts)
            twice = [key for key, count in found.items() if count > 1]
            titles = Counter((post.source_id, post.title, post.text) for post in posts)
            assert not twice, f"posts twice: {twice}"
            assert len(posts) == len(world.city.posts), f"{len(posts)} posts of {len(world.city.posts)}"
            assert max(titles.values()) == 1, "a post is stored under two names"
            assert all(post.judged_at is not None for post in posts), "posts were left unjudged"
            judged = set(session.scalars(select(Judgement.post_id)))
            assert judged == {post.id for post in posts}
            once_events(session)
            numbers = {row.id: row.number or "" for row in session.scalars(select(Incident))}
            members = session.execute(select(IncidentPost.incident_id, IncidentPost.post_id)).all()
            for row in session.scalars(select(Incident)):
                held = sum(incident == row.id for incident, _ in members)
                assert held == row.posts, f"incident {row.id} counts {row.posts} posts and holds {held}"
            clocks = [
                (numbers[d.incident_id], d.rule_id, d.round, d.due_at, d.state)
                for d in session.scalars(select(Deadline))
            ]
            assert len(clocks) == len({clock[:3] for clock in clocks}), "a clock runs twice"
            timers = Counter((t.incident_id, t.kind, t.epoch, t.step) for t in session.scalars(select(Timer)))
            assert not timers or max(timers.values()) == 1, "a timer is set twice"
            messages = session.scalars(select(Outbox)).all()
            told(world, messages)
            kinds = Counter(
                (numbers.get(event.incident_id or 0, ""), event.kind)
                for event in session.scalars(select(IncidentEvent))
            )
            return {
                "posts": set(found),
                "incidents": {
                    (row.number, row.title, row.state, row.posts)
                    for row in session.scalars(select(Incident))
                    if row.number
                },
                "clocks": set(clocks),
                "messages": {
                    (numbers.get(m.incident_id or 0, ""), m.kind, m.epoch, m.step, m.recipient, m.channel)
                    for m in messages
                },
                "events": kinds,
                "counts": f"{len(posts)} posts, {verdict.events} events, {len(clocks)} clocks, {len(messages)} messages",
            }
    finally:
        db.close()


def once_events(session: Any) -> None:
    """No event that may happen once stands twice."""
    seen: Counter[tuple[Any, ...]] = Counter()
    for event in session.scalars(select(IncidentEvent).where(IncidentEvent.incident_id.is_not(None))):
        if event.kind in ONCE:
            seen[
                (
                    event.incident_id,
                    event.epoch,
                    event.kind,
                    *(str(event.payload.get(key)) for key in ONCE[event.kind]),
                )
            ] += 1
    twice = [key for key, count in seen.items() if count > 1]
    assert not twice, f"events twice: {twice}"


def told(world: World, messages: Sequence[Outbox]) -> None:
    """Every message that should have gone out did, once, as its recipient sees it."""
    waiting = [row.id for row in messages if row.state in ("pending", "sending")]
    assert not waiting, f"{len(waiting)} messages were never sent"
    refused = [row.error for row in messages if row.state == "refused"]
    assert not refused, f"messages refused: {refused[:3]}"
    arrived = Counter(
        ((item.get("metadata") or {}).get("event_payload") or {}).get("outbox_id")
        for item in world.slack.messages
    )
    wanted = {row.id for row in messages if row.channel == "slack" and row.state == "sent"}
    twice = [key for key, count in arrived.items() if count > 1]
    assert not twice, f"Slack shows messages twice: {twice}"
    edits = {row.id for row in messages if row.channel == "slack" and row.kind == "edit"}
    assert wanted - set(arrived) <= edits, f"Slack lacks {len(wanted - set(arrived) - edits)} messages"
    assert set(arrived) <= {row.id for row in messages}, "Slack shows messages that nobody remembers"
    files = [path.stem.split("-", 1)[1] for path in (world.folder / "outbox").glob("*.eml")]
    mails = {row.id for row in messages if row.channel in ("email", "folder") and row.state == "sent"}
    assert len(files) == len(set(files)), "a mail lies in the folder twice"
    assert set(files) == mails, (
        f"mails: {len(set(files) - mails)} too many, {len(mails - set(files))} missing"
    )


def run(kills: int, seed: int) -> None:
    """The whole proof."""
    _CONTEXT.set_forkserver_preload(["demo.run"])
    # killed clients reset their connections: nothing that a person should read about
    socketserver.BaseServer.handle_error = lambda *_: None  # type: ignore[method-assign]
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="quansheng-kill-") as base:
        calm = World(Path(base) / "calm")
        try:
            seconds = calm.finish()
            expected = check(calm)
        finally:
            calm.close()
        say(f"a day that nobody interrupts: {seconds:.1f} s, {expected['counts']}")
        world = World(Path(base) / "killed")
        try:
            points = kill_at_random(world, chance, kills)
            times = ", ".join(f"{point.astimezone(ZONE):%H:%M}" for point in points)
            say(f"killed {len(points)} times (seed {seed}), at {times}")
            world.finish()
            left = check(world)
        finally:
            world.close()
        say(f"after the last restart: {left['counts']}")
        compare(expected, left)


def compare(calm: dict[str, Any], killed: dict[str, Any]) -> None:
    """The interrupted day left the same posts, incidents, clocks, messages and events as the calm one."""
    for name in ("posts", "incidents", "clocks", "messages", "events"):
        if isinstance(calm[name], set):
            lost, added = (
                sorted(map(str, calm[name] - killed[name])),
                sorted(map(str, killed[name] - calm[name])),
            )
        else:
            lost, added = [str(calm[name] - killed[name])], [str(killed[name] - calm[name])]
        assert calm[name] == killed[name], f"{name}: lost {lost[:5]}, added {added[:5]}"
        say(f"{name}: the same as on the calm day")


def cli() -> int:
    """Run the proof; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20261124)
    given = parser.parse_args()
    try:
        run(given.kills, given.seed)
    except AssertionError as wrong:
        say(f"WRONG: {wrong}")
        return 1
    say("Proved: nothing lost, nothing doubled, the record is whole.")
    return 0


if __name__ == "__main__":
    sys.exit(cli())
