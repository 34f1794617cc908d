"""What people put right: stored with its label and its record, counted everywhere, kept through new judgements."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.settings import PrivacySettings
from incidents import corrections, events, judgements, labels, proposals, queries, retention
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.labels import PairLabel
from incidents.lifecycle import handle, handle_or_refuse
from incidents.posts import save_posts
from incidents.proposals import NewProposal
from incidents.session import Database, Session
from incidents.states import (
    Assign,
    Close,
    Confirm,
    Detect,
    Evaluate,
    FalseAlarm,
    Merge,
    Refused,
    Respond,
    Restore,
    Unmerge,
)
from incidents.topics import Topic, save_topics, topics_of, weeks
from tests.conftest import PostFactory

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WHO: dict[str, Any] = {"actor": "lin", "channel": "console"}


def judged(post_id: int, *, tone: str = "neg", copy: int | None = None, model: str = "m1") -> NewJudgement:
    return NewJudgement(
        post_id=post_id,
        domain="housing",
        domain_score=0.8,
        tone=tone,
        tone_score=0.8,
        snownlp_score=0.2,
        signal=True,
        signal_score=0.9,
        risk=1,
        risk_score=0.6,
        model_version=model,
        abstain=True,
        districts=["历下区"],
        near_copy_of=copy,
    )


@pytest.fixture
def make(any_db: Database, post: PostFactory) -> Callable[..., tuple[int, list[int]]]:
    """An incident of posts; `copies` of its first post come last."""

    def build(count: int = 3, *, copies: int = 0, detect: bool = True) -> tuple[int, list[int]]:
        with any_db.transaction() as session:
            ids = [save_posts(session, [post(title=f"停水第{n}天")]).ids[0] for n in range(count + copies)]
            rows = [judged(id_, copy=ids[0] if n >= count else None) for n, id_ in enumerate(ids)]
            save_judgements(session, rows, NOW)
            incident = open_watching(
                session,
                title="停水",
                domain="housing",
                district="历下区",
                first_posted_at=NOW,
                sketch={"t": {}},
            )
            for n, id_ in enumerate(ids):
                add_post(
                    session,
                    incident,
                    id_,
                    similarity=0.9,
                    voice=n < count,
                    published_at=datetime(2026, 3, 2, 0, n, tzinfo=UTC),
                    negative=True,
                    now=NOW,
                )
            if detect:
                handle(
                    session,
                    incident,
                    Detect("burst", {"posts": count}),
                    actor="system",
                    channel="system",
                    now=NOW,
                )
        return incident, ids

    return build


Make = Callable[..., tuple[int, list[int]]]


def kinds(session: Session, incident: int) -> list[str]:
    return [event.kind for event in queries.events_of(session, incident)]


def test_a_correction_changes_the_judgement_the_counts_and_leaves_label_and_record(
    any_db: Database, make: Make
) -> None:
    incident, ids = make()
    with any_db.transaction() as session:
        done = corrections.correct(
            session,
            ids[0],
            {"tone": "neu", "risk": "0", "about": "company"},
            now=NOW,
            reason="只是询问",
            **WHO,
        )
    assert done == ["tone", "risk", "about"]
    with any_db.reading() as session:
        said = labels.latest(session, ids)[ids[0]]
        assert {kind: (label.was, label.value, label.model_version) for kind, label in said.items()} == {
            "tone": ("neg", "neu", "m1"),
            "risk": ("1", "0", "m1"),
            "about": ("", "company", "m1"),
        }
        first = next(row for row in queries.posts_of(session, incident) if row.id == ids[0])
        assert (first.tone, first.risk, first.about, first.abstain) == ("neu", 0, "company", False)
        assert [hour.negative for hour in queries.growth_of(session, incident)] == [2]
        act = queries.latest_events(session, 1)[0]
        assert (act.kind, act.actor, act.payload["changes"]["tone"]) == ("corrected", "lin", ["neg", "neu"])
        assert act.payload["incident_id"] == incident
        assert events.verify(session, any_db.audit_key).events == 2


def test_what_a_person_said_outlives_a_new_judgement(any_db: Database, make: Make) -> None:
    _, ids = make()
    with any_db.transaction() as session:
        corrections.correct(
            session, ids[0], {"tone": "pos", "signal": "no", "domain": "market"}, now=NOW, **WHO
        )
    with any_db.transaction() as session:
        save_judgements(session, [judged(ids[0], model="m2"), judged(ids[1], model="m2")], NOW)
    with any_db.reading() as session:
        rows = {row.id: row for row in queries.posts_of(session, 1)}
        assert (rows[ids[0]].tone, rows[ids[0]].signal, rows[ids[0]].domain) == ("pos", False, "market")
        assert (rows[ids[1]].tone, rows[ids[1]].signal, rows[ids[1]].domain) == ("neg", True, "housing")


def test_reading_and_agreeing_is_a_label_too(any_db: Database, make: Make) -> None:
    _, ids = make()
    with any_db.transaction() as session:
        assert corrections.correct(session, ids[0], {}, now=NOW, confirm=True, **WHO) == list(labels.VALUES)
    with any_db.reading() as session:
        assert not any(label.changed for label in labels.of_post(session, ids[0]))
    with any_db.transaction() as session:
        assert corrections.correct(session, ids[0], {"tone": "neg"}, now=NOW, **WHO) == [], "said already"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "nothing was changed"),
        ({"tone": "angry"}, "tone cannot be 'angry'"),
        ({"mood": "x"}, "mood"),
    ],
)
def test_a_correction_that_says_nothing_is_refused(
    any_db: Database, make: Make, said: dict[str, str], sentence: str
) -> None:
    _, ids = make()
    with pytest.raises(Refused, match=sentence), any_db.transaction() as session:
        corrections.correct(session, ids[0], said, now=NOW, **WHO)
    with any_db.reading() as session:
        assert labels.count_labels(session) == {}


def test_a_post_that_is_not_judged_cannot_be_corrected(any_db: Database, post: PostFactory) -> None:
    with any_db.transaction() as session:
        (waiting,) = save_posts(session, [post()]).ids
    with pytest.raises(Refused, match="no judgement"), any_db.transaction() as session:
        corrections.correct(session, waiting, {"tone": "neu"}, now=NOW, **WHO)


def test_two_people_at_once_are_both_labelled_and_the_last_stands(any_db: Database, make: Make) -> None:
    incident, ids = make()
    start = threading.Barrier(2)
    failures: list[BaseException] = []

    def say(actor: str, tone: str) -> None:
        try:
            start.wait(timeout=20)
            with any_db.transaction() as session:
                corrections.correct(session, ids[0], {"tone": tone}, now=NOW, actor=actor, channel="console")
        except BaseException as error:  # noqa: BLE001 (told to the test's own thread)
            failures.append(error)

    people = [threading.Thread(target=say, args=pair) for pair in (("lin", "neu"), ("wang", "pos"))]
    for person in people:
        person.start()
    for person in people:
        person.join(timeout=60)
    assert failures == []
    with any_db.reading() as session:
        first, last = labels.of_post(session, ids[0])
        assert {first.actor, last.actor} == {"lin", "wang"}
        assert (first.was, last.was) == ("neg", first.value), "the second saw what the first had said"
        row = next(row for row in queries.posts_of(session, incident) if row.id == ids[0])
        assert row.tone == last.value
        assert [hour.negative for hour in queries.growth_of(session, incident)] == [2]
        assert events.verify(session, any_db.audit_key).events == 3


def test_a_post_that_does_not_belong_leaves_with_its_copies_and_the_counts_follow(
    any_db: Database, make: Make
) -> None:
    incident, ids = make(3, copies=2)
    with any_db.reading() as session:
        before = judgements.reshapings(session).count
    with any_db.transaction() as session:
        assert corrections.take_out(session, incident, ids[0], now=NOW, reason="外地", **WHO) == 3
    with any_db.reading() as session:
        view = queries.get_incident(session, incident)
        assert view is not None
        assert (view.posts, view.voices) == (2, 2)
        assert [row.id for row in queries.posts_of(session, incident)] == ids[1:3]
        assert [(h.posts, h.voices, h.negative) for h in queries.growth_of(session, incident)] == [(2, 2, 2)]
        assert view.first_posted_at == queries.posts_of(session, incident)[0].published_at
        assert kinds(session, incident) == ["detected", "post_removed"]
        after = judgements.reshapings(session)
        assert (after.count, after.since(before), after.since(after.count)) == (before + 1, [incident], [])
        assert after.since(before - 1) is None, "longer ago than is kept: everything is read again"
        (live,) = judgements.live_incidents(session, NOW - timedelta(days=9))
        assert live.sketch[judgements.STALE_SKETCH] is True
        assert labels.latest(session, ids)[ids[0]]["outside"].was == str(incident)
        assert PairLabel(ids[0], ids[1], same=False) in labels.pair_labels(session)


def test_a_watched_cluster_loses_a_post_without_a_history(any_db: Database, make: Make) -> None:
    incident, ids = make(2, detect=False)
    with any_db.transaction() as session:
        corrections.take_out(session, incident, ids[0], now=NOW, **WHO)
    with any_db.reading() as session:
        view = queries.get_incident(session, incident)
        assert view is not None
        assert (view.state, view.version, view.posts) == ("watching", 0, 1)
        assert queries.latest_events(session, 1)[0].kind == "post_removed"


def test_not_everything_can_leave(any_db: Database, make: Make) -> None:
    incident, ids = make(1, copies=1)
    with pytest.raises(Refused, match="false alarm"), any_db.transaction() as session:
        corrections.take_out(session, incident, ids[0], now=NOW, **WHO)
    with pytest.raises(Refused, match="no longer in this incident"), any_db.transaction() as session:
        corrections.take_out(session, incident, 9999, now=NOW, **WHO)
    with pytest.raises(Refused, match="no incident"), any_db.transaction() as session:
        corrections.take_out(session, 9999, ids[0], now=NOW, **WHO)


def test_a_split_makes_a_second_incident_and_both_histories_tell_of_it(any_db: Database, make: Make) -> None:
    incident, ids = make(4, copies=1)
    with any_db.transaction() as session:
        made = corrections.split(session, incident, [ids[2], ids[3]], now=NOW, note="另一小区", **WHO)
        again = corrections.split(session, incident, [ids[1]], now=NOW, idempotency_key="k1", **WHO)
    with any_db.transaction() as session:
        assert corrections.split(session, incident, [ids[1]], now=NOW, idempotency_key="k1", **WHO) == again
    with any_db.reading() as session:
        old, new = queries.get_incident(session, incident), queries.get_incident(session, made.incident_id)
        assert old is not None
        assert new is not None
        assert (old.posts, old.voices, new.posts, new.voices) == (2, 1, 2, 2)
        assert (new.state, new.track, new.level, new.number) == ("detected", "manual", "general", made.number)
        assert old.number in str(new.why["sentence_zh"])
        assert kinds(session, incident) == ["detected", "split", "split"]
        assert kinds(session, made.incident_id) == ["detected"]
        event = queries.events_of(session, incident)[1]
        assert event.payload == {"into": made.incident_id, "posts": [ids[2], ids[3]], "note": "另一小区"}
        assert events.verify(session, any_db.audit_key).events == 5
        pairs = labels.pair_labels(session)
        assert PairLabel(ids[2], ids[3], same=True) in pairs
        assert PairLabel(ids[0], ids[2], same=False) in pairs


def test_only_an_open_incident_is_split_and_a_stale_page_is_refused(any_db: Database, make: Make) -> None:
    incident, ids = make()
    handle_or_refuse(any_db, incident, Confirm(), now=NOW, **WHO)
    with any_db.transaction() as session:
        handle(session, incident, Assign("housing"), now=NOW, **WHO)
    with pytest.raises(Refused, match="changed by somebody else"), any_db.transaction() as session:
        corrections.split(session, incident, [ids[0]], now=NOW, expected_version=1, **WHO)
    for command in (Respond("https://x.invalid/1"), Evaluate(80), Close()):
        handle_or_refuse(any_db, incident, command, now=NOW, **WHO)
    with pytest.raises(Refused, match="is closed"), any_db.transaction() as session:
        corrections.split(session, incident, [ids[0]], now=NOW, **WHO)
    with any_db.reading() as session:
        assert queries.count_by_state(session) == {"closed": 1}, "a refused split leaves no second incident"


def test_acts_of_the_life_cycle_teach_wherever_they_come_from(any_db: Database, make: Make) -> None:
    one, first = make(2)
    two, second = make(2)
    handle_or_refuse(any_db, two, Merge(one, "同一小区"), now=NOW, actor="lin", channel="slack")
    with any_db.reading() as session:
        assert PairLabel(first[0], second[0], same=True) in labels.pair_labels(session)
    handle_or_refuse(any_db, two, Unmerge("看错了"), now=NOW, actor="lin", channel="cli")
    handle_or_refuse(any_db, one, FalseAlarm("not_now", "去年的"), now=NOW, actor="lin", channel="link")
    handle_or_refuse(any_db, one, Restore("又发生了"), now=NOW, actor="lin", channel="api")
    with any_db.reading() as session:
        assert [(x.kind, x.value, x.was, x.reason) for x in labels.of_incident(session, two)] == [
            ("merge", str(one), "", "同一小区"),
            ("split", str(one), "merged", "看错了"),
        ]
        assert [(x.kind, x.value, x.was, x.reason) for x in labels.of_incident(session, one)] == [
            ("false_alarm", "not_now", "burst", "去年的"),
            ("restored", "", "false_alarm", "又发生了"),
        ]
        assert PairLabel(first[0], second[0], same=False) in labels.pair_labels(session), (
            "the last word counts"
        )


def test_a_post_that_moved_leaves_the_open_question(any_db: Database, make: Make) -> None:
    one, ids = make(4)
    with any_db.transaction() as session:
        proposals.propose(session, NewProposal("split", one, 0.9, posts=(ids[2], ids[3])), NOW)
        corrections.take_out(session, one, ids[2], now=NOW, **WHO)
        (asked,) = proposals.open_proposals(session)
        assert asked.posts == (ids[3],)
        made = corrections.accept(session, asked.id, now=NOW, **WHO)
        assert [row.id for row in queries.posts_of(session, made)] == [ids[3]]


def test_a_refused_command_teaches_nothing(any_db: Database, make: Make) -> None:
    one, _ = make(2)
    with pytest.raises(Refused):
        handle_or_refuse(any_db, one, FalseAlarm("because"), now=NOW, **WHO)
    with any_db.reading() as session:
        assert labels.count_labels(session) == {}


def test_training_reads_the_last_word_of_each_post_and_kind(any_db: Database, make: Make) -> None:
    _, ids = make(2)
    with any_db.transaction() as session:
        corrections.correct(session, ids[0], {"tone": "neu"}, now=NOW, **WHO)
        corrections.correct(session, ids[0], {"tone": "pos", "risk": "0"}, now=NOW, **WHO)
    with any_db.reading() as session:
        found = labels.training_labels(session)
    assert [(x.post_id, x.title, x.kind, x.value) for x in found] == [
        (ids[0], "停水第0天", "risk", "0"),
        (ids[0], "停水第0天", "tone", "pos"),
    ]


def test_a_proposal_is_asked_once_and_carried_out_by_a_person(any_db: Database, make: Make) -> None:
    one, _ = make(2)
    two, _ = make(2)
    with any_db.transaction() as session:
        asked = proposals.propose(
            session, NewProposal("merge", two, 0.7, one, reasons={"words": ["停水"]}), NOW
        )
        assert asked is not None
        assert proposals.propose(session, NewProposal("merge", one, 0.8, two), NOW) is None, (
            "the other way round"
        )
    with any_db.reading() as session:
        (view,) = proposals.open_proposals(session, two)
        assert (view.incident_id, view.other_id, view.score) == (one, two, 0.8)
    with any_db.transaction() as session:
        assert corrections.accept(session, asked, now=NOW, **WHO) == one
    with pytest.raises(Refused, match="out of date"), any_db.transaction() as session:
        corrections.refuse(session, asked, now=NOW, **WHO)
    with any_db.reading() as session:
        child = queries.get_incident(session, two)
        assert child is not None
        assert (child.state, child.parent_id) == ("merged", one)
        assert proposals.open_proposals(session) == []
        assert queries.latest_events(session, 1)[0].kind == "proposal_accepted"
        assert labels.count_labels(session) == {"merge": 1}


def test_a_refused_merge_is_a_label_and_never_comes_back(any_db: Database, make: Make) -> None:
    one, first = make(2)
    two, second = make(2)
    with any_db.transaction() as session:
        asked = proposals.propose(session, NewProposal("merge", one, 0.7, two), NOW)
        assert asked is not None
        corrections.refuse(session, asked, now=NOW, reason="两栋楼", **WHO)
        assert proposals.propose(session, NewProposal("merge", one, 0.9, two), NOW) is None
    with any_db.reading() as session:
        assert proposals.open_proposals(session) == []
        assert PairLabel(first[0], second[0], same=False) in labels.pair_labels(session)


def test_an_accepted_split_moves_the_posts_and_a_refused_one_says_that_they_belong(
    any_db: Database, make: Make
) -> None:
    one, ids = make(4)
    with any_db.transaction() as session:
        asked = proposals.propose(session, NewProposal("split", one, 0.9, posts=(ids[3],)), NOW)
        assert asked is not None
        corrections.refuse(session, asked, now=NOW, **WHO)
        assert proposals.propose(session, NewProposal("split", one, 0.9, posts=(ids[3],)), NOW) is None
        other = proposals.propose(
            session, NewProposal("split", one, 0.9, posts=(ids[1], ids[2], ids[3])), NOW
        )
        assert other is not None
        made = corrections.accept(session, other, now=NOW, **WHO)
    with any_db.reading() as session:
        assert [row.id for row in queries.posts_of(session, made)] == ids[1:]
        assert labels.latest(session, ids)[ids[3]]["merge"].value == str(one)


def test_proposals_about_incidents_that_are_over_are_closed(any_db: Database, make: Make) -> None:
    one, _ = make(2)
    two, _ = make(2)
    with any_db.transaction() as session:
        asked = proposals.propose(session, NewProposal("merge", one, 0.7, two), NOW)
        handle(session, two, FalseAlarm("no_issue"), now=NOW, **WHO)
    assert asked is not None
    with any_db.transaction() as session:
        assert proposals.open_proposals(session) == []
        handle(session, two, Restore("又有人发"), now=NOW, **WHO)
        assert proposals.propose(session, NewProposal("merge", one, 0.7, two), NOW) == asked, "asked again"


def test_the_older_incident_takes_the_newer_unless_that_one_is_being_dealt_with(
    any_db: Database, make: Make
) -> None:
    one, _ = make(2)
    two, _ = make(2)
    with any_db.transaction() as session:
        for command in (Confirm(), Assign("housing"), Respond("https://x.invalid/1")):
            handle(session, two, command, now=NOW, **WHO)
        asked = proposals.propose(session, NewProposal("merge", one, 0.7, two), NOW)
        assert asked is not None
        assert corrections.accept(session, asked, now=NOW, **WHO) == two
    with any_db.reading() as session:
        child = queries.get_incident(session, one)
        assert child is not None
        assert child.parent_id == two


def test_labels_of_a_post_go_with_it_and_those_of_incidents_stay(any_db: Database, make: Make) -> None:
    one, ids = make(4)
    with any_db.transaction() as session:
        corrections.correct(session, ids[0], {"tone": "neu"}, now=NOW, **WHO)
        proposals.propose(session, NewProposal("split", one, 0.9, posts=(ids[0], ids[1])), NOW)
        url = queries.posts_of(session, one)[0].url
        retention.object_to(session, url, NOW)
        assert labels.count_labels(session) == {}
        (left,) = proposals.open_proposals(session)
        assert left.posts == (ids[1],)
        handle(session, one, FalseAlarm("no_issue"), now=NOW, **WHO)
    later = NOW + timedelta(days=4000)
    with any_db.transaction() as session:
        retention.purge(session, later, PrivacySettings())
        assert queries.posts_of(session, one) == []
        assert labels.count_labels(session) == {"false_alarm": 1}
        assert labels.training_labels(session) == []


def test_topics_of_a_week_are_replaced_as_a_whole(any_db: Database, make: Make) -> None:
    _, ids = make(2)
    rows = [
        Topic("housing", "t1", "停水", ("停水", "水压"), 9, 7, 4, (ids[0], 9999), "m1"),
        Topic("housing", "t2", "电梯", ("电梯",), 12, 7),
    ]
    with any_db.transaction() as session:
        assert save_topics(session, "2026-W10", rows) == 2
        assert save_topics(session, "2026-W10", rows) == 2
        assert save_topics(session, "2026-W09", rows[:1]) == 1
    with any_db.reading() as session:
        assert [(topic.key, topic.examples) for topic in topics_of(session, "2026-W10")] == [
            ("t2", ()),
            ("t1", (ids[0],)),
        ]
        assert topics_of(session, "2026-W10", "schooling") == []
        assert weeks(session) == ["2026-W10", "2026-W09"]
    with pytest.raises(ValueError, match="2026-W47"), any_db.transaction() as session:
        save_topics(session, "2026-54", rows)
