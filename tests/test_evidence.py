"""Originals of posts: hashed for all, kept for incidents, verified, purged; and what happens when disk, process or people interfere."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, event, insert, select, text, update
from warcio.archiveiterator import ArchiveIterator

from alerts import troubles
from alerts.wording import Wording
from commands import evidence as command
from incidents import casefile, corrections, events, evidence, evidence_due, judgements, queries, rebuild
from incidents.installation import Installation, Problem
from incidents.models import EvidenceDue, EvidenceWant, IncidentEvent, IncidentPost, Post, PostRevision
from incidents.posts import NewPost, save_posts
from incidents.retention import object_to, purge
from incidents.revisions import content_sha256
from incidents.session import Database, Session
from incidents.states import Detect, FalseAlarm, Merge
from incidents.vault import Damaged, Vault
from incidents.warc import REMOVED, Exchange, build, read
from spiders import evidence_job, job, originals, traces
from spiders.importer import import_file
from spiders.reactor import crawler_thread
from tests.conftest import AUDIT_KEY, PostFactory
from tests.evidence_world import PRIVACY, Town, later
from tests.fakes.crawl import KEYS, NOW, bundle, source
from tests.fakes.site import Answer, Site, article


@pytest.fixture
def town(any_db: Database, tmp_path: Path) -> Iterator[Town]:
    with Site() as site:
        yield Town(any_db, tmp_path / "data", site)


def posts(town: Town) -> list[Post]:
    with town.db.reading() as session:
        found = list(session.scalars(select(Post).order_by(Post.id)))
        session.expunge_all()
    return found


def wants(town: Town) -> list[EvidenceWant]:
    with town.db.reading() as session:
        found = list(session.scalars(select(EvidenceWant).order_by(EvidenceWant.post_id)))
        session.expunge_all()
    return found


# --- from the crawl into the incident


def on_the_list(db: Database) -> list[int]:
    with db.reading() as session:
        return list(session.scalars(select(EvidenceDue.post_id).order_by(EvidenceDue.post_id)))


def test_a_post_comes_on_the_list_when_its_incident_is_raised_and_leaves_it_when_its_original_is_kept(
    town: Town,
) -> None:
    town.publish(4)
    town.crawl()
    first, second, third, fourth = town.ids()
    with town.db.transaction() as session:
        watched = judgements.open_watching(
            session, title="水黄", domain="services", district="", first_posted_at=NOW, sketch={}
        )

        def join(post: int) -> None:
            judgements.add_post(
                session, watched, post, similarity=1, voice=True, published_at=NOW, negative=True, now=NOW
            )

        join(first)
        join(second)
    assert on_the_list(town.db) == [], "a watched cluster is no incident"
    town.do(watched, Detect("manual", {}), NOW)
    assert on_the_list(town.db) == [first, second]
    with town.db.transaction() as session:
        join(third)
    assert on_the_list(town.db) == [first, second, third]
    with town.db.transaction() as session:
        corrections.take_out(session, watched, second, actor="li-na", channel="console", now=NOW)
    assert on_the_list(town.db) == [first, third]
    assert town.keep().kept == 2
    assert on_the_list(town.db) == [], "and the fourth belongs to nothing"
    assert fourth not in {row.post_id for row in evidence_rows(town)}


def evidence_rows(town: Town) -> list[evidence.EvidenceView]:
    with town.db.reading() as session:
        return evidence.all_rows(session)


def test_a_post_that_was_forgotten_on_the_list_is_found_once_a_day(town: Town) -> None:
    town.publish(2)
    town.crawl()
    town.incident(town.ids())
    with town.db.transaction() as session:
        session.execute(delete(EvidenceDue))
    assert town.keep().kept == 0
    evidence_job.sweep(town.db, town.bundle, KEYS, NOW)
    assert town.keep().kept == 2
    with town.db.transaction() as session:
        assert evidence_due.mend(session) == 0


def test_looking_for_originals_to_keep_reads_no_more_than_the_list(
    any_db: Database, post: PostFactory
) -> None:
    with any_db.transaction() as session:
        ids = save_posts(
            session,
            [post(f"停水{n}", received="sha256:" + "0" * 64) for n in range(2000)],
        ).ids
        held = [
            judgements.open_watching(
                session, title="水", domain="services", district="", first_posted_at=NOW, sketch={}
            )
            for _ in ids[::10]
        ]
        session.execute(
            insert(IncidentPost),
            [
                {"post_id": id_, "incident_id": held[n // 10], "similarity": 1, "added_at": NOW}
                for n, id_ in enumerate(ids)
            ],
        )
    with any_db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    empty = plan_of(any_db, lambda session: evidence.candidates(session, 200))
    assert "evidence_due" in " ".join(empty)
    assert "post " not in " ".join(empty)
    with any_db.transaction() as session:
        session.execute(insert(EvidenceDue), [{"post_id": id_} for id_ in ids[:5]])
    plan = plan_of(any_db, lambda session: evidence.candidates(session, 200), statement=1)
    assert not [line for line in plan if re.search(r"(?i)scan (on )?(post|incident_post)\b", line)], plan
    if any_db.is_sqlite:  # the other database reads a table that fits into one page as a whole
        wanted = plan_of(any_db, lambda session: evidence.wanted(session, "forum", NOW, 5))
        assert any("ix_evidence_want_source" in line for line in wanted), wanted


def plan_of(db: Database, look: Callable[[Session], object], statement: int = 0) -> list[str]:
    """The plan of one of the statements of a look."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    with db.reading() as session:
        event.listen(db.engine, "before_cursor_execute", note)
        look(session)
        event.remove(db.engine, "before_cursor_execute", note)
        words, parameters = asked[statement]
        explain = "EXPLAIN QUERY PLAN" if db.is_sqlite else "EXPLAIN"
        plan = session.connection().exec_driver_sql(f"{explain} {words}", parameters)
        return [str(row[-1]) for row in plan]


def test_every_post_has_the_digest_of_what_was_received_and_of_its_text(town: Town) -> None:
    town.publish(3)
    town.crawl()
    for post in posts(town):
        body = town.site._answers[f"/art/{post.url.rsplit('/', 1)[1]}"]
        assert isinstance(body, Answer)
        assert post.received == f"sha256:{hashlib.sha256(body.body).hexdigest()}"
        assert post.content_sha256 == content_sha256(post.title, post.text)
        assert Vault.is_name(post.original)
    # nothing of it is kept before there is an incident
    assert list(town.vault.kept()) == []
    assert town.keep() == evidence_job.EvidenceSummary()


def test_the_original_of_a_post_in_an_incident_is_kept_whole_and_secret(town: Town) -> None:
    town.publish(3)
    town.crawl()
    ids = town.ids()
    town.incident(ids[:2])
    assert town.keep(later(hours=1)).kept == 2
    assert town.keep(later(hours=1)).kept == 0, "once is enough"
    found = town.check()
    assert (found.originals, found.files, found.faults) == (2, 2, [])
    for path in town.vault.kept():
        raw = path.read_bytes()
        assert b"13812345678" not in raw
        assert "自来水".encode() not in raw
        assert path.stat().st_mode & 0o077 == 0
    first = posts(town)[0]
    original = read(town.vault.read(first.original))
    assert "13812345678" in original.body.decode(), "the original is not redacted"
    assert "13812345678" not in first.text
    assert original.whole
    assert original.url == first.url
    assert original.about["source"] == "map"
    assert original.about["robots"].startswith("allowed")
    assert original.about["extractor"].startswith("sitemap")
    with town.db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
        assert list(rebuild.differences(session)) == []


def test_posts_of_one_answer_share_one_file(town: Town) -> None:
    town.site.feed(
        "/feed.xml",
        [{"title": f"停水{n}", "guid": f"g{n}", "text": f"停水第{n}次，没人来管"} for n in range(5)],
    )

    feed = bundle(source("feed", "rss", f"{town.site.url}/feed.xml"), data_dir=town.folder)
    job.run(town.db, feed, KEYS, NOW, only=("feed",), env={})
    assert len({post.original for post in posts(town)}) == 1
    town.incident(town.ids()[:2])
    town.incident(town.ids()[2:3])
    assert town.keep().kept == 3
    assert (town.check().originals, town.check().files, town.kinds()) == (3, 1, [])


def test_a_repeat_is_not_written_again(town: Town) -> None:
    town.site.feed("/feed.xml", [{"title": "停水", "guid": "g1", "text": "停水第1次，没人来管"}])

    feed = bundle(source("feed", "rss", f"{town.site.url}/feed.xml"), data_dir=town.folder)
    for hour in range(3):
        town.site.feed(
            "/feed.xml",
            [{"title": "停水", "guid": "g1", "text": "停水第1次，没人来管", "likes": str(hour)}],
        )
        job.run(town.db, feed, KEYS, later(hours=hour), only=("feed",), env={})
    assert len(list(town.vault.spooled())) == 1


def test_keys_of_the_operator_are_not_in_the_record() -> None:
    made = build(
        Exchange(
            "s",
            "https://a.example/x",
            NOW,
            200,
            b"{}",
            (("Set-Cookie", "id=42"), ("Content-Encoding", "gzip")),
            request_headers=(("Authorization", "Bearer 42"), ("User-Agent", "QuanshengBot")),
        )
    )
    plain = gzip.decompress(made)
    assert b"Bearer" not in plain
    assert b"id=42" not in plain
    assert plain.count(REMOVED.encode()) == 2
    assert b"QuanshengBot" in plain
    assert b"X-Archive-Orig-Content-Encoding: gzip" in plain


def test_an_imported_row_has_a_keyed_digest(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(
        "工单编号,诉求内容,联系电话\nG1,停水第1次，电话13812345678,13812345678\nG2,,138\n", "utf-8"
    )
    import_file(town.db, file, None, KEYS.pseudonym, NOW)
    (post,) = posts(town)
    assert post.received.startswith("hmac-sha256:")
    assert post.original == ""
    town.incident([post.id])
    assert town.keep() == evidence_job.EvidenceSummary(), (
        "the sender has the original, we never keep its columns"
    )
    with town.db.reading() as session:
        kept = session.execute(text("SELECT payload FROM quarantine")).scalar_one()
    assert "hmac-sha256:" in str(kept)


# --- when it is too late


def test_what_left_the_spool_is_fetched_again_and_says_so(town: Town) -> None:
    town.publish(2)
    town.crawl()
    ids = town.ids()
    assert town.keep(later(hours=60)).pruned == 2
    town.incident(ids, later(hours=61))
    assert town.keep(later(hours=61)).to_fetch_again == 2
    hits = town.site.hits("/art/0")
    town.crawl(later(hours=62))
    assert town.site.hits("/art/0") == hits + 1
    assert town.keep(later(hours=62)).kept == 2
    with town.db.reading() as session:
        rows = evidence.all_rows(session)
    assert {row.how for row in rows} == {evidence.LATER}
    assert {row.fetched_at for row in rows} == {later(hours=62)}
    assert wants(town) == []
    assert town.kinds() == []


def test_a_page_that_is_gone_is_given_up_with_its_reason(town: Town) -> None:
    town.publish(2)
    town.crawl()
    ids = town.ids()
    town.keep(later(hours=60))
    made = town.incident(ids, later(hours=61))
    town.keep(later(hours=61))
    town.site.on("/art/0", Answer(404))
    town.site.on("/art/1", Answer(500))
    town.crawl(later(hours=62))
    gone, broken = sorted(wants(town), key=lambda one: one.given_up_at is None)
    assert gone.given_up_at is not None
    assert "404" in gone.reason
    assert broken.given_up_at is None
    before = town.site.hits("/art/1")
    town.crawl(later(hours=62, minutes=30))
    assert town.site.hits("/art/1") == before, "not asked again within the hour"
    for hour in (64, 70, 80, 100):
        town.crawl(later(hours=hour))
    assert next(one for one in wants(town) if one.post_id == broken.post_id).given_up_at is not None
    with town.db.reading() as session:
        assert {one.post_id for one in evidence.missing_of(session, [made])} == set(ids)


def test_a_post_without_a_usable_address_holds_up_nothing(town: Town) -> None:
    town.publish(2)
    town.evidence["spool_h"] = 0
    town.crawl()
    with town.db.transaction() as session:
        session.execute(update(Post).where(Post.id == 1).values(url="微信公众号，第3条"))
    made = town.incident(town.ids())
    town.keep()
    town.crawl(later(hours=1))
    town.keep(later(hours=1))
    with town.db.reading() as session:
        (lost,) = evidence.missing_of(session, [made])
        assert lost.post_id == 1
        assert "no web address" in lost.reason
        assert lost.given_up_at is not None
        assert [row.post_id for row in evidence.of_incidents(session, [made])] == [2]


def test_robots_rules_hold_for_what_is_fetched_again(town: Town) -> None:
    town.publish(1)
    town.crawl()
    town.keep(later(hours=60))
    town.incident(town.ids(), later(hours=61))
    town.keep(later(hours=61))
    town.site.on("/robots.txt", Answer(200, b"User-agent: *\nDisallow: /art/\n"))
    crawler_thread().forget_robots()
    hits = town.site.hits("/art/0")
    town.crawl(later(hours=62))
    assert town.site.hits("/art/0") == hits
    (want,) = wants(town)
    assert "forbids" in want.reason


# --- what people and disks do to files

CHANGES = 1000


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def test_a_thousand_random_changes_are_all_found_and_named(sqlite_db: Database, tmp_path: Path) -> None:
    with Site() as site:
        town = Town(sqlite_db, tmp_path / "data", site)
        town.publish(12)
        town.crawl()
    ids = town.ids()
    numbers = {}
    for group in (ids[:6], ids[6:]):
        made = town.incident(group)
        with town.db.reading() as session:
            view = queries.get_incident(session, made)
        assert view is not None
        numbers.update(dict.fromkeys(group, view.number))
    town.keep()
    with town.db.reading() as session:
        of = {town.vault.kept_path(row.name): row.post_id for row in evidence.all_rows(session)}
    files = sorted(of)
    whole = {path: path.read_bytes() for path in files}
    assert town.kinds() == []
    seen: dict[str, int] = {}
    for number in range(CHANGES):
        chance = random.Random(number)
        what = chance.choice(
            ["flip", "flip", "cut", "remove", "swap", "extra", "copy", "grow", "empty", "zero"]
        )
        one, two = chance.sample(files, 2)
        hit = {of[one]}
        kinds = {"changed"}
        extra: list[Path] = []
        if what == "flip":
            flip(one, chance)
        elif what == "cut":
            one.write_bytes(whole[one][: chance.randrange(len(whole[one]))])
            kinds = {"truncated"}
        elif what == "empty":
            one.write_bytes(b"")
            kinds = {"truncated"}
        elif what == "zero":
            begin = chance.randrange(len(whole[one]) - 16)
            one.write_bytes(whole[one][:begin] + bytes(16) + whole[one][begin + 16 :])
            if whole[one][begin : begin + 16] == bytes(16):
                continue
        elif what == "grow":
            one.write_bytes(whole[one] + chance.randbytes(chance.randint(1, 50)))
        elif what == "remove":
            one.unlink()
            kinds = {"missing"}
        elif what == "swap":
            one.write_bytes(whole[two])
            two.write_bytes(whole[one])
            hit, kinds = {of[one], of[two]}, {"swapped"}
        else:
            extra = [one.with_name(Vault.new_name("map", later(minutes=number)))]
            extra[0].write_bytes(whole[one] if what == "copy" else chance.randbytes(200))
            hit, kinds = ({of[one]} if what == "copy" else set()), {"extra"}
        found = town.check().faults
        named = {post for fault in found for post in fault.posts}
        assert {fault.kind for fault in found} == kinds, (number, what, found)
        assert named == hit, (number, what, found)
        for fault in found:
            for post in fault.posts:
                assert f"post {post}" in fault.sentence
                assert str(numbers[post]) in fault.sentence
        seen[what] = seen.get(what, 0) + 1
        for path in (one, two):
            path.write_bytes(whole[path])
        for path in extra:
            path.unlink()
    assert sum(seen.values()) >= CHANGES - 5
    assert len(seen) == 9
    assert town.kinds() == []


def test_a_changed_text_and_a_changed_row_are_found(town: Town) -> None:
    town.publish(2)
    town.crawl()
    ids = town.ids()
    town.incident(ids)
    town.keep()
    with town.db.transaction() as session:
        new = content_sha256("自来水发黄0", "一切正常")
        session.execute(
            update(Post)
            .where(Post.id == ids[0])
            .values(title="自来水发黄0", text="一切正常", content_sha256=new)
        )
        session.execute(text("UPDATE evidence SET file_sha256 = 'x' WHERE post_id = :id"), {"id": ids[1]})
    (fault,) = town.check().faults
    assert (fault.kind, fault.posts) == ("text", (ids[0],))
    with town.db.reading() as session:
        (difference,) = rebuild.differences(session)
    assert difference.table == "evidence"
    with town.db.transaction() as session:
        rebuild.repair(session)
    with town.db.reading() as session:
        assert list(rebuild.differences(session)) == []


# --- retention


def closed(town: Town, incident: int, now_hours: float) -> None:
    town.do(incident, FalseAlarm("no_issue", ""), later(hours=now_hours))


def test_retention_leaves_a_tombstone_and_verify_says_purged(town: Town) -> None:
    town.publish(3)
    town.crawl()
    ids = town.ids()
    over = town.incident(ids[:2])
    town.incident(ids[2:])
    town.keep()
    closed(town, over, 1)
    when = later(days=300)
    with town.db.transaction() as session:
        assert purge(session, when, PRIVACY).originals == 0, "not yet"
    when = later(days=367)
    with town.db.transaction() as session:
        assert purge(session, when, PRIVACY).originals == 2
    assert town.kinds() == ["not_removed", "not_removed"], "the files go after the commit"
    assert evidence_job.sweep(town.db, town.bundle, KEYS, when).deleted == 2
    found = town.check()
    assert (found.originals, found.faults, len(found.removed)) == (1, [], 2)
    said = str(found.removed[0])
    assert f"purged on {when.astimezone().date().isoformat()[:4]}" in said
    assert "by rule privacy.evidence_days" in said
    # it does not come back
    assert town.keep(when).kept == town.keep(when).to_fetch_again == 0
    with town.db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
        assert list(rebuild.differences(session)) == []
        # posts and their numbers stay longer than the originals
        assert len(list(session.scalars(select(IncidentPost.post_id)))) == 3


def test_open_incidents_are_never_purged_and_a_merged_one_follows_its_parent(town: Town) -> None:
    town.publish(2)
    town.crawl()
    ids = town.ids()
    child, parent = town.incident(ids[:1]), town.incident(ids[1:])
    town.keep()
    town.do(child, Merge(parent), later(hours=1))
    far = later(days=4000)
    with town.db.transaction() as session:
        assert purge(session, far, PRIVACY).originals == 0
    assert evidence_job.sweep(town.db, town.bundle, KEYS, far).deleted == 0
    closed(town, parent, 2)
    with town.db.transaction() as session:
        assert purge(session, far, PRIVACY).originals == 2
    assert evidence_job.sweep(town.db, town.bundle, KEYS, far).deleted == 2
    assert town.kinds() == []


def test_a_file_that_two_incidents_share_goes_with_the_last(town: Town) -> None:
    test_posts_of_one_answer_share_one_file(town)
    with town.db.reading() as session:
        first, second = sorted(set(session.scalars(select(IncidentPost.incident_id))))
    closed(town, first, 1)
    far = later(days=400)
    with town.db.transaction() as session:
        assert purge(session, far, PRIVACY).originals == 2
    assert evidence_job.sweep(town.db, town.bundle, KEYS, far).deleted == 0
    assert town.kinds() == []
    closed(town, second, 2)
    with town.db.transaction() as session:
        purge(session, later(days=500), PRIVACY)
    assert evidence_job.sweep(town.db, town.bundle, KEYS, later(days=500)).deleted == 1
    assert town.kinds() == []


def test_an_objection_removes_the_original_at_once_even_of_an_open_incident(town: Town) -> None:
    town.publish(2)
    town.crawl()
    ids = town.ids()
    town.incident(ids)
    town.keep()
    url = posts(town)[0].url
    with town.db.transaction() as session:
        done = object_to(session, url, later(hours=2))
    assert (done.posts, done.originals, len(done.names)) == (1, 1, 1)
    for name in done.names:
        town.vault.discard(name)
    found = town.check()
    assert (found.originals, found.faults) == (1, [])
    assert "by rule objection" in str(found.removed[0])


def test_a_post_whose_text_was_edited_is_not_kept_twice(town: Town) -> None:
    town.publish(1)
    town.crawl()
    town.incident(town.ids())
    assert town.keep().kept == 1
    with town.db.transaction() as session:
        session.execute(
            update(Post).values(text="改过", content_sha256=content_sha256("自来水发黄0", "改过"))
        )
    assert town.keep(later(hours=1)) == evidence_job.EvidenceSummary()


def test_a_noticed_edit_is_no_fault_as_long_as_the_words_before_it_are_there(town: Town) -> None:
    town.publish(1)
    town.crawl()
    town.incident(town.ids())
    town.keep()
    with town.db.transaction() as session:
        post = session.scalars(select(Post)).one()
        edit = PostRevision(
            post_id=post.id,
            noticed_at=NOW,
            old_title=post.title,
            old_text=post.text,
            old_sha256=post.content_sha256,
            new_sha256=content_sha256(post.title, "改过"),
        )
        session.add(edit)
        post.text, post.content_sha256 = "改过", edit.new_sha256
    assert town.kinds() == []
    with town.db.transaction() as session:
        session.scalars(select(PostRevision)).one().old_text = "换过"
    assert town.kinds() == ["text"]


def test_a_post_that_gets_the_number_of_a_removed_one_is_kept_too(town: Town) -> None:
    town.publish(1)
    town.crawl()
    town.incident(town.ids())
    town.keep()
    (old,) = posts(town)
    with town.db.transaction() as session:
        object_to(session, old.url, later(hours=2))
    evidence_job.sweep(town.db, town.bundle, KEYS, later(hours=2))
    town.publish(1)
    town.crawl(later(hours=3))
    assert len(posts(town)) == 1
    town.incident(town.ids(), later(hours=3))
    assert town.keep(later(hours=3)).kept == 1
    assert town.kinds() == []


# --- crashes and disks


def test_a_kill_between_file_and_commit_loses_and_doubles_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.publish(3)
    town.crawl()
    town.incident(town.ids())

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "keep", die)
        with pytest.raises(KeyboardInterrupt):
            town.keep()
    assert len(list(town.vault.kept())) == 3
    assert town.kinds() == ["extra"] * 3
    assert evidence_job.sweep(town.db, town.bundle, KEYS, NOW).orphans == 0, "they are about to be recorded"
    assert town.keep(later(minutes=1)).kept == 3
    assert len(list(town.vault.kept())) == 3
    assert town.kinds() == []


def test_an_orphan_is_set_apart_and_told(
    town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    town.publish(1)
    town.crawl()
    town.incident(town.ids())
    (post,) = posts(town)
    town.vault.keep(post.original)  # moved, then killed
    with (
        town.db.transaction() as session
    ):  # and before the next run the post is objected to; its file is overlooked
        object_to(session, post.url, NOW)
    foreign = town.vault.kept_path(Vault.new_name("map", NOW))
    foreign.write_bytes(b"put there by somebody")
    done = evidence_job.sweep(town.db, town.bundle, KEYS, later(hours=1))
    assert done.orphans == 1
    assert "set apart" in caplog.text
    assert [fault.name for fault in town.check().faults] == [foreign.name], (
        "what is not ours stays to be seen"
    )
    with town.db.reading() as session:
        (event,) = session.scalars(select(IncidentEvent).where(IncidentEvent.kind == evidence.ORPHAN))
        assert event.payload["name"] == post.original
    assert evidence_job.sweep(town.db, town.bundle, KEYS, later(days=40)).deleted == 1


def test_a_full_disk_costs_originals_but_no_post_and_is_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.publish(2)

    def full(self: Vault, name: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "put", full)
        town.crawl()
    assert [post.original for post in posts(town)] == ["", ""]
    assert all(post.received for post in posts(town))
    with town.db.reading() as session:
        (trouble,) = troubles._originals(session, _say())
    assert "No space left" in trouble.text
    town.publish(1)
    town.crawl(later(hours=1))
    with town.db.reading() as session:
        assert list(troubles._originals(session, _say())) == [], "over when the next one can be written"
    # the two without an original are asked for again
    town.incident(town.ids(), later(hours=1))
    assert town.keep(later(hours=1)).to_fetch_again == 2


def _say() -> Wording:
    return Wording("zh_CN", ZoneInfo("Asia/Shanghai"))


def test_an_unwritable_evidence_folder_stops_nothing(town: Town) -> None:
    town.folder.mkdir(parents=True)
    (town.folder / "evidence").write_text("a file where the folder should be")
    town.publish(1)
    town.crawl()
    assert len(posts(town)) == 1
    town.incident(town.ids())
    assert town.keep().trouble
    with town.db.reading() as session:
        assert len(list(troubles._originals(session, _say()))) == 2
    (town.folder / "evidence").unlink()
    assert town.keep(later(hours=1)).to_fetch_again == 1
    town.crawl(later(hours=2))
    assert town.keep(later(hours=2)).kept == 1
    with town.db.reading() as session:
        assert list(troubles._originals(session, _say())) == []


def test_the_spool_keeps_within_its_hours_and_megabytes(tmp_path: Path) -> None:
    vault = Vault(tmp_path, b"k" * 32)
    names = []
    for hour in range(5):
        name = vault.new_name("s", later(hours=hour))
        vault.put(name, b"x" * 1_000_000)
        names.append(name)
    assert vault.prune(later(hours=4), 48, 10).files == 0
    gone = vault.prune(later(hours=4), 48, 3.5)
    assert (gone.files, gone.early) == (2, True)
    gone = vault.prune(later(hours=6), 3, 10)
    assert (gone.files, gone.early) == (1, False)
    assert sorted(vault.spooled()) == names[3:]
    full = Vault(tmp_path, b"k" * 32, min_free_mb=shutil.disk_usage(tmp_path).total / 1e6 + 1)
    with pytest.raises(OSError, match="min_free_mb"):
        full.put(full.new_name("s", NOW), b"x")


def test_an_answer_with_odd_headers_is_kept_and_one_that_cannot_be_costs_no_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Exchange("s", "http://a.cn/", NOW, 200, b"x", headers=[("X-\xe9", "\xe9\u4e2d"), ("", "\r\n")])
    assert read(build(odd)).whole

    def refuses(exchange: Exchange) -> bytes:
        raise UnicodeEncodeError("ascii", "中", 0, 1, "no WARC holds it")

    monkeypatch.setattr(originals, "build", refuses)
    post = NewPost("s", "1", "", "", "停水", NOW, False, NOW, None)
    (kept,) = originals.Originals(Vault(tmp_path, b"k" * 32)).spool([post], [odd], set())
    assert (kept.text, kept.original) == ("停水", "")


def test_a_file_opens_with_its_own_name_and_key_only(tmp_path: Path) -> None:
    vault = Vault(tmp_path, b"k" * 32)
    name, other = vault.new_name("s", NOW), vault.new_name("s", NOW)
    vault.put(name, b"secret")
    sealed = vault._spool_path(name).read_bytes()
    assert vault.open(name, sealed) == b"secret"
    with pytest.raises(Damaged):
        vault.open(other, sealed)
    with pytest.raises(Damaged):
        Vault(tmp_path, b"j" * 32).open(name, sealed)
    with pytest.raises(ValueError, match="no name"):
        vault.kept_path("../../secret.key")


# --- documents


def test_the_case_file_lists_and_proves_the_originals(town: Town) -> None:
    town.publish(2)
    town.crawl()
    made = town.incident(town.ids())
    town.keep()
    with town.db.reading() as session:
        incident = queries.get_incident(session, made)
        assert incident is not None
        case = casefile.collect(session, incident)
    first = posts(town)[0]
    assert case.evidence[0]["payload_sha256"] == first.received.removeprefix("sha256:")
    document = json.loads(
        json.dumps({"signed": case.signed, "events": [vars(e) for e in case.events]}, default=str)
    )
    assert casefile.check(document, AUDIT_KEY).ok
    kept = next(event for event in case.events if event.kind == evidence.KEPT)
    assert kept.payload["records"][0]["payload"] == case.evidence[0]["payload_sha256"]
    assert timedelta(0) == case.evidence[0]["fetched_at"] - NOW


def test_other_answers_that_hold_an_objected_post_are_found(town: Town, tmp_path: Path) -> None:
    """A feed is read again and again: the same post lies in the originals of its neighbours."""
    said = "我家住在历下区某小区，楼上漏水半年无人处理"
    entry = {"title": "漏水", "guid": "g1", "link": f"{town.site.url}/p/1", "text": said}
    feed = bundle(source("feed", "rss", f"{town.site.url}/feed.xml"), data_dir=town.folder)
    for number, entries in enumerate(
        (
            [entry],
            [
                entry,
                {"title": "停水", "guid": "g2", "link": f"{town.site.url}/p/2", "text": "停水了，没人管"},
            ],
            [{"title": "停电", "guid": "g3", "link": f"{town.site.url}/p/3", "text": "停电了，没人管"}],
        )
    ):
        town.site.feed("/feed.xml", entries)
        job.run(town.db, feed, KEYS, later(hours=number), only=("feed",), env={})
    town.incident(town.ids(), later(hours=3))
    assert town.keep(later(hours=3)).kept == 3
    home = Installation(town.db, town.bundle, KEYS)
    url = f"{town.site.url}/p/1"
    files = traces.mentions(home, url)
    assert files == {post.original for post in posts(town)[:2]}
    with town.db.transaction() as session:
        done = object_to(session, url, later(hours=4), files=files)
    assert (done.posts, done.originals) == (1, 2)
    assert traces.discard(home, done.names) == 2
    assert (town.check().originals, town.kinds()) == (1, [])
    # the neighbour in the same answer gets its own page instead
    town.site.page("/p/2", article("停水", "历下区停水了，没人管，打电话也没人接。\n" * 5))
    assert town.keep(later(hours=5)).to_fetch_again == 1
    job.run(town.db, feed, KEYS, later(hours=6), only=("feed",), env={})
    assert town.keep(later(hours=6)).kept == 1
    assert (town.check().originals, town.kinds()) == (2, [])
    with town.db.reading() as session:
        assert list(rebuild.differences(session)) == []
    assert said.encode() not in b"".join(town.vault.read(path.name) for path in town.vault.kept())


def test_originals_leave_the_vault_with_a_reason_only(town: Town, tmp_path: Path) -> None:
    town.publish(2)
    town.crawl()
    made = town.incident(town.ids())
    town.keep()
    home = Installation(town.db, town.bundle, KEYS)
    file = tmp_path / "case.warc.gz"

    def take(reason: str, post: int | None = None, to: Path = file) -> str:
        return command.export(
            home, str(made), to, post=post, reason=reason, actor="li-na", now=later(hours=1)
        )

    with pytest.raises(Problem, match="reason"):
        take(" ")
    with pytest.raises(Problem, match="no original"):
        take("调查组来函", post=99)
    for name in ("case.zip", "case.warc"):
        with pytest.raises(Problem, match=r"warc\.gz"):
            take("调查组来函", to=tmp_path / name)
    assert "2 answers" in take("调查组来函〔2026〕8号")
    assert file.stat().st_mode & 0o077 == 0
    archive = ArchiveIterator(BytesIO(file.read_bytes()), check_digests="raise")
    types = [record.rec_type for record in archive]
    assert types == ["warcinfo", *["response", "request", "metadata"] * 2]
    with town.db.reading() as session:
        # only what was really written is on record as read
        event = session.scalars(select(IncidentEvent).where(IncidentEvent.kind == evidence.READ)).one()
        assert (event.actor, event.payload["reason"]) == ("li-na", "调查组来函〔2026〕8号")
        assert event.payload["posts"] == [post.id for post in posts(town)]
    flip(next(town.vault.kept()), random.Random(1))
    with pytest.raises(Problem, match="cannot be read"):
        take("调查组来函")
    lines = list(command.listed(home, str(made)).lines())
    assert "2 originals kept" in lines[0]
    assert posts(town)[0].received.removeprefix("sha256:") in lines[1]
