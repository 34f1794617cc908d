"""Numbers over a span: half open, by local day, lateness charged to the right link."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from incidents import judgements, stats
from incidents.models import Deadline, Incident
from incidents.posts import NewPost, save_posts
from incidents.session import Database, Session
from incidents.stats import LinkTime, RuleOutcome, SourceVolume

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
DAY = timedelta(days=1)
Factory = Callable[..., NewPost]


def incident(session: Session, **times: datetime) -> int:
    row = Incident(title="停水", first_posted_at=T0, last_post_at=T0, **times)
    session.add(row)
    session.flush()
    return row.id


def test_volume_is_counted_by_local_day_and_half_open(any_db: Database, post: Factory) -> None:
    whens = [T0 - timedelta(seconds=1), T0, datetime(2026, 3, 2, 16, tzinfo=UTC), T0 + DAY]
    with any_db.transaction() as session:
        ids = save_posts(session, [post(published_at=when) for when in whens]).ids
        item = judgements.NewJudgement(
            ids[1],
            "services",
            0.9,
            "neg",
            0.8,
            0.2,
            True,
            0.7,
            1,
            0.3,
            "t",
            districts=["历下区", "市中区", "历下区"],
        )
        judgements.save_judgements(session, [item], T0)
        volume = stats.volume_by_day(session, T0, T0 + DAY, by="domain", zone="Asia/Shanghai")
        assert volume == {date(2026, 3, 2): {"services": 1}, date(2026, 3, 3): {"": 1}}
        assert stats.volume_by_day(session, T0, T0 + DAY, by="source", zone="UTC") == {
            date(2026, 3, 2): {"forum": 2}
        }
        assert stats.volume_by_district(session, T0, T0 + DAY) == {"历下区": 1, "市中区": 1}


def test_lateness_is_charged_to_the_link_it_happened_in(any_db: Database) -> None:
    hour = timedelta(hours=1)
    with any_db.transaction() as session:
        incident(session, detected_at=T0 + hour, confirmed_at=T0 + 2 * hour, responded_at=T0 + 30 * hour)
        incident(session, detected_at=T0 + 3 * hour, confirmed_at=T0 + 2 * hour)
        incident(session, detected_at=T0 + DAY)  # after the span
        incident(session)  # never detected
        assert stats.link_times(session, T0, T0 + DAY) == [
            LinkTime("first_posted_at", "detected_at", 2, 2 * hour, 3 * hour),
            LinkTime("detected_at", "confirmed_at", 2, hour / 2, hour),
            LinkTime("confirmed_at", "responded_at", 1, 28 * hour, 28 * hour),
        ]
        assert stats.link_times(session, T0, T0 + DAY, department="water") == []


def test_a_clock_that_runs_past_its_time_is_not_on_time(any_db: Database) -> None:
    with any_db.transaction() as session:
        one = incident(session)
        for number, (rule, state, hours) in enumerate(
            [
                ("R1", "met", 1),
                ("R1", "missed", 2),
                ("R1", "open", 3),
                ("R1", "open", 9),
                ("R2", "cancelled", 4),
                ("R1", "met", 24),
            ]
        ):
            session.add(
                Deadline(
                    incident_id=one,
                    rule_id=rule,
                    round=number,
                    stops_on="responded",
                    started_at=T0,
                    due_at=T0 + timedelta(hours=hours),
                    state=state,
                )
            )
        session.flush()
        outcomes = stats.rule_outcomes(session, T0, T0 + DAY, T0 + timedelta(hours=5))
        assert outcomes == [RuleOutcome("R1", 1, 1, 0, 1), RuleOutcome("R2", 0, 0, 1, 0)]
        assert [outcome.on_time for outcome in outcomes] == [1 / 3, None]


def test_lag_of_a_source_leaves_out_estimated_times(any_db: Database, post: Factory) -> None:
    def fetched(minutes: int, source: str, estimated: bool = False) -> NewPost:
        return post(
            source_id=source,
            published_at=T0,
            fetched_at=T0 + timedelta(minutes=minutes),
            published_estimated=estimated,
        )

    with any_db.transaction() as session:
        save_posts(
            session,
            [
                fetched(2, "forum"),
                fetched(9, "forum"),
                fetched(4, "forum"),
                fetched(90, "forum", True),
                fetched(1, "rss", True),
            ],
        )
        assert stats.source_volumes(session, T0, T0 + DAY) == [
            SourceVolume("forum", 4, timedelta(minutes=4)),
            SourceVolume("rss", 1, None),
        ]
