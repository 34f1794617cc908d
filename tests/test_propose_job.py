"""The job asks people about incidents that may be one or two, and takes up what people changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analysis import job
from analysis.cluster_proposals import Proposal
from incidents import corrections, judgements, proposals, queries
from incidents.dossier import dossier
from incidents.lifecycle import handle
from incidents.posts import save_posts
from incidents.session import Database
from incidents.states import Detect
from tests.conftest import PostFactory
from tests.console_world import jinan

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WATER = "历下区伊景园小区停水三天了，物业没人管，请求解决供水"
LIFT = "历下区伊景园小区三号楼电梯坏了半个月，老人上不了楼，请求维修电梯"


def feed(db: Database, post: PostFactory, *texts: str, hours: int = 0) -> list[int]:
    with db.transaction() as session:
        saved = save_posts(
            session, [post(text, title=text[:14], published_at=NOW - timedelta(hours=1)) for text in texts]
        )
    job.run(db, jinan(), NOW + timedelta(hours=hours))
    return list(saved.ids)


def detect(db: Database, post_id: int) -> int:
    """The cluster of a post, raised by hand."""
    with db.transaction() as session:
        found = dossier(session, post_id)
        assert found is not None
        assert found.incident_id is not None
        view = queries.get_incident(session, found.incident_id)
        assert view is not None
        if view.state == "watching":
            handle(session, found.incident_id, Detect("manual", {}), actor="lin", channel="console", now=NOW)
    return found.incident_id


def test_a_cluster_that_people_changed_is_sketched_anew_from_its_posts(
    any_db: Database, post: PostFactory
) -> None:
    (first,) = feed(any_db, post, WATER)
    incident = detect(any_db, first)
    (second,) = feed(any_db, post, LIFT + "。还有" + WATER)
    with any_db.transaction() as session:
        held = {row.id for row in queries.posts_of(session, incident)}
        if second not in held:
            judgements.add_post(
                session,
                incident,
                second,
                similarity=0.5,
                voice=True,
                published_at=NOW,
                negative=True,
                now=NOW,
            )
        corrections.take_out(session, incident, second, actor="lin", channel="console", now=NOW)
        (before,) = [
            row for row in judgements.live_incidents(session, NOW - timedelta(days=9)) if row.id == incident
        ]
    assert before.sketch[judgements.STALE_SKETCH] is True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "rebuild", lambda *_: pytest.fail("everything was read again for one incident"))
        feed(any_db, post, WATER + "，孩子上学都没法洗脸")
    with any_db.reading() as session:
        (after,) = [
            row for row in judgements.live_incidents(session, NOW - timedelta(days=9)) if row.id == incident
        ]
    assert judgements.STALE_SKETCH not in after.sketch
    assert "电梯" not in after.sketch["t"]
    assert after.sketch["p"] == after.posts


def test_what_the_comparison_finds_is_asked_once(
    db: Database, post: PostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    water, lift = feed(db, post, WATER, "市中区某中学食堂饭菜发霉，学生吃了肚子疼，请查处食堂")
    one, two = detect(db, water), detect(db, lift)
    assert one != two
    monkeypatch.setattr(job, "PROPOSE_EVERY", 1)
    monkeypatch.setattr(
        job,
        "merge_candidates",
        lambda clusterer, incident, limit: [Proposal(one + two - incident, 0.6, {"words": ["停水"]})],
    )
    for number in range(2):
        feed(db, post, f"{WATER}，第{number}次反映")
    with db.reading() as session:
        (asked,) = [row for row in proposals.open_proposals(session) if row.kind == "merge"]
        assert (asked.incident_id, asked.other_id, asked.score, asked.reasons) == (
            one,
            two,
            0.6,
            {"words": ["停水"]},
        )
        assert {row.state for row in queries.list_incidents(session)} == {"detected"}, (
            "nothing is merged by itself"
        )


def test_a_watched_cluster_is_no_question(
    db: Database, post: PostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "PROPOSE_EVERY", 1)
    monkeypatch.setattr(
        job, "merge_candidates", lambda *_: pytest.fail("asked about a cluster that has not emerged")
    )
    feed(db, post, WATER)


def test_two_matters_in_one_incident_are_asked_about(
    db: Database, post: PostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = feed(db, post, WATER)
    incident = detect(db, first)
    monkeypatch.setattr(job, "PROPOSE_EVERY", 1)
    monkeypatch.setattr(job, "SPLIT_FROM", 2)
    monkeypatch.setattr(
        job, "split_candidate", lambda members, model: ([members[0].id], 0.9, {"leave": {"words": ["停水"]}})
    )
    feed(db, post, WATER + "，又停了")
    with db.reading() as session:
        (asked,) = [row for row in proposals.open_proposals(session) if row.kind == "split"]
    assert (asked.incident_id, asked.posts) == (incident, (first,))
