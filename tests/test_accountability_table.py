"""The department table: every figure counted again by SQL of its own; every link late once, and no department charged for it."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.bundle import Bundle, load_bundle
from incidents.proportions import wilson
from incidents.session import Database
from incidents.states import (
    Assign,
    Close,
    Confirm,
    Evaluate,
    Merge,
    Reopen,
    Respond,
    SignFor,
    Unmerge,
)
from reports.accountability import build_accountability
from reports.accountability_model import AccountabilityModel, DepartmentLine, Miss, Rate
from reports.period import PeriodError, name_before, name_of, named
from reports.standard import expected, groups, rate, together
from tests.fakes.ledger import MONDAY, URL, ZONE, Ledger, returned

UNIT, OTHER = "market-regulation", "education"
DECEMBER = datetime(2026, 12, 1, 8, tzinfo=ZONE)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(None, config_dir=tmp_path)


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db)


def table(
    ledger: Ledger, bundle: Bundle, period: str = "2026-11", now: datetime = DECEMBER
) -> AccountabilityModel:
    with ledger.db.reading() as session:
        return build_accountability(session, bundle, period, now)


def line(model: AccountabilityModel, unit: str = UNIT) -> DepartmentLine:
    found = model.department(unit)
    assert found is not None
    return found


def rows(ledger: Ledger, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """An independent recount: SQL written here, no code of the product."""
    with ledger.db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


# --- links: who is charged for a missed clock ---------------------------------------------------------------------


def only_miss(model: AccountabilityModel) -> Miss:
    (miss,) = model.misses
    return miss


def seconds(miss: Miss) -> dict[str, int]:
    return {one.link: one.seconds for one in miss.used}


def test_a_department_that_was_late_by_itself_is_charged(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain(UNIT, assigned=1.0, answered=60)
    model = table(ledger, bundle)
    miss = only_miss(model)
    assert (miss.link, miss.department, miss.holder) == ("department", UNIT, UNIT)
    assert seconds(miss)["department"] == 59 * 3600
    assert miss.late == round((60 - 48.2) * 3600)
    assert (line(model).rate.kept, line(model).rate.missed) == (0, 1)


def test_a_duty_desk_that_slept_is_charged_and_not_the_department(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain(UNIT, assigned=47.0, answered=57)
    model = table(ledger, bundle)
    miss = only_miss(model)
    assert (miss.link, miss.department) == ("desk", "")
    assert seconds(miss)["department"] == 10 * 3600
    assert line(model).rate.missed == 0
    assert line(model).others == 1


def test_a_desk_that_took_a_share_is_charged_when_without_it_the_clock_was_kept(
    ledger: Ledger, bundle: Bundle
) -> None:
    ledger.plain(UNIT, assigned=20.0, answered=60)  # 40 h of its own: within 48
    assert only_miss(table(ledger, bundle)).link == "desk"


def test_a_desk_within_its_allowance_is_no_excuse(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain(UNIT, assigned=1.0, answered=48.6)  # 47.6 h of its own, 0.8 h of others
    assert only_miss(table(ledger, bundle)).department == UNIT


def test_a_system_that_told_nobody_is_charged(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain(UNIT, paged=40.0, assigned=41.0, answered=60)
    miss = only_miss(table(ledger, bundle))
    assert miss.link == "system"
    assert seconds(miss)["system"] == round((40.0 - 0.2) * 3600)


def test_a_source_read_late_costs_no_department_anything(ledger: Ledger, bundle: Bundle) -> None:
    # the clock runs from the detection: what the source cost is told, and nobody's clock
    ledger.plain(UNIT, fetched=30.0, detected=30.1, paged=30.2, assigned=31.0, answered=60)
    model = table(ledger, bundle)
    assert model.misses == ()
    part = next(one for one in model.links if one.part == "posted_fetched")
    assert (part.link, part.seconds, part.took.n) == ("source", 30 * 3600, 1)
    # a clock that runs from the post is missed by the source
    ledger.matter(fetched=50, detected=50.1, paged=50.2).clock(0.0, 48.0, rule="R01").do(50.4, Confirm()).do(
        50.5, Assign(UNIT)
    ).do(55, Respond(URL))
    assert only_miss(table(ledger, bundle)).link == "source"


def test_waiting_for_an_approval_is_the_approver_s_time(ledger: Ledger, bundle: Bundle) -> None:
    made = ledger.plain(UNIT, assigned=1.0, signed=2.0, answered=None)
    made.note(10, "approval_asked").note(50, "approval_given").do(52, Respond(URL))
    model = table(ledger, bundle)
    miss = only_miss(model)
    assert miss.link == "approver"
    assert seconds(miss) == {
        "approver": 40 * 3600,
        "department": (9 + 2) * 3600,
        "desk": round(0.75 * 3600),
        "system": round(0.05 * 3600),
    }
    assert line(model).rate.missed == 0


def test_two_departments_in_turn_share_a_miss_that_neither_made_alone(ledger: Ledger, bundle: Bundle) -> None:
    made = ledger.plain(UNIT, assigned=1.0, answered=None)
    made.do(31, Assign(OTHER, reason="职责不符")).do(55, Respond(URL))
    model = table(ledger, bundle)
    miss = only_miss(model)
    assert (miss.link, miss.department, miss.holder) == ("shared", "", OTHER)
    assert {one.department: one.seconds for one in miss.used if one.link == "department"} == {
        UNIT: 30 * 3600,
        OTHER: 24 * 3600,
    }
    assert [(line(model, unit).rate.missed, line(model, unit).shared) for unit in (UNIT, OTHER)] == [
        (0, 1),
        (0, 1),
    ]
    assert line(model, UNIT).reassigned == 1
    # each is timed from its own assignment, and each is charged for its own hours only
    assert line(model, OTHER).answer.worst == 24 * 3600
    assert line(model, UNIT).answer.n == 0
    assert (line(model, UNIT).hours, line(model, OTHER).hours) == (30 * 3600, 24 * 3600)


def test_the_first_of_two_departments_is_charged_when_it_alone_was_too_late(
    ledger: Ledger, bundle: Bundle
) -> None:
    made = ledger.plain(UNIT, assigned=1.0, answered=None)
    made.do(51, returned()).do(51.5, Assign(OTHER)).do(52, Respond(URL))
    model = table(ledger, bundle)
    assert only_miss(model).department == UNIT
    assert line(model, OTHER).rate.missed == 0
    assert line(model, UNIT).returned == 1


def test_an_answer_published_in_time_and_entered_later_is_kept(ledger: Ledger, bundle: Bundle) -> None:
    made = ledger.plain(UNIT, answered=None)
    made.do(90, Respond(URL, published_at=made.at(20)))
    model = table(ledger, bundle)
    assert model.misses == ()
    assert line(model).rate.kept == 1
    assert line(model).hours == 19 * 3600, "from the answer on nobody's time runs"


# --- traps --------------------------------------------------------------------------------------------------------


def test_three_cases_give_no_rate_and_no_group(ledger: Ledger, bundle: Bundle) -> None:
    for index in range(3):
        ledger.plain(UNIT, begun=MONDAY + timedelta(hours=index), answered=60)
    own = line(table(ledger, bundle))
    assert (own.rate.kept, own.rate.missed) == (0, 3)
    assert (own.rate.share, own.rate.low, own.expected, own.group) == (None, None, None, None)


def test_a_reopened_case_counts_once_and_its_rounds_apart(ledger: Ledger, bundle: Bundle) -> None:
    made = ledger.plain(UNIT, answered=20)
    made.do(30, Evaluate(60), Close()).do(40, Reopen("又发生"))
    made.clock(40, 48, round_=2).do(42, Assign(OTHER)).do(44, SignFor()).do(46, Respond(URL))
    model = table(ledger, bundle)
    assert model.cases == 1
    first, second = line(model, UNIT), line(model, OTHER)
    assert (first.led, first.reopened, first.rate.kept) == (1, 1, 1)
    assert (second.led, second.reopened, second.rate.kept) == (1, 0, 1)
    assert (second.sign.worst, second.answer.worst) == (2 * 3600, 4 * 3600)
    part = next(one for one in model.links if one.part == "reopened_assigned")
    assert part.seconds == 2 * 3600


def test_a_case_over_new_year_counts_in_both_years_and_its_clock_once(ledger: Ledger, bundle: Bundle) -> None:
    eve = datetime(2026, 12, 31, 12, tzinfo=ZONE)
    made = ledger.plain(UNIT, begun=eve, assigned=1, answered=60)
    later = datetime(2027, 2, 1, tzinfo=ZONE)
    old, new = (line(table(ledger, bundle, year, later)) for year in ("2026", "2027"))
    assert (old.led, new.led) == (1, 1)
    assert (old.rate.kept + old.rate.missed, new.rate.missed) == (0, 1)
    assert old.hours == 11 * 3600
    assert new.hours == 48 * 3600
    assert old.numbers == new.numbers == (made.number,)
    assert line(table(ledger, bundle, "2026-W53", later)).rate.missed == 1, "the ISO week holds both days"


def test_an_incident_merged_twice_counts_as_its_parent_only(ledger: Ledger, bundle: Bundle) -> None:
    first, second = ledger.plain(UNIT), ledger.plain(OTHER, begun=MONDAY + timedelta(hours=1))
    child = ledger.plain(UNIT, answered=None, begun=MONDAY + timedelta(hours=2))
    child.do(5, Merge(first.id)).do(6, Unmerge("另一件事")).do(7, Merge(second.id))
    model = table(ledger, bundle)
    assert model.cases == 2
    assert line(model, UNIT).led == 1
    assert child.number not in line(model, UNIT).numbers + line(model, OTHER).numbers


def test_old_names_count_for_whoever_bears_the_duty_today(ledger: Ledger, bundle: Bundle) -> None:
    ledger.plain("市食品药品监管局")
    ledger.plain("市工商局", begun=MONDAY + timedelta(hours=1), answered=70)
    ledger.plain("market-regulation", begun=MONDAY + timedelta(hours=2))
    ledger.plain("no-such-unit", begun=MONDAY + timedelta(hours=3))
    model = table(ledger, bundle)
    own = line(model)
    assert (own.led, own.rate.kept, own.rate.missed) == (3, 2, 1)
    assert own.former == ("市食品药品监管局", "市工商局")
    assert {one.id for one in model.departments} == {"market-regulation", "no-such-unit"}


def test_a_false_alarm_and_a_late_clock_of_another_period_count_nowhere(
    ledger: Ledger, bundle: Bundle
) -> None:
    ledger.plain(UNIT, begun=datetime(2026, 10, 20, 9, tzinfo=ZONE), answered=None)
    own = line(table(ledger, bundle))
    assert (own.led, own.open, own.rate.missed) == (1, 1, 0), "missed in October"
    assert line(table(ledger, bundle, "2026-10")).rate.missed == 1


# --- figures against a recount ------------------------------------------------------------------------------------


def busy(ledger: Ledger) -> None:
    """Sixty cases of four departments."""
    units = (UNIT, OTHER, "transport", "lixia")
    with ledger.at_once():
        for index in range(60):
            _one(ledger, units[index % 4 if index < 48 else 0], index)


def _one(ledger: Ledger, unit: str, index: int) -> None:
    ledger.plain(
        unit,
        begun=MONDAY + timedelta(hours=7 * index),
        assigned=1.0 + index % 3,
        signed=3.5 + index % 5 if index % 2 else None,
        answered=(20 + index if index % 7 else None),
        co=(OTHER,) if unit == UNIT and index % 8 == 0 else (),
        level=("general", "serious", "major")[index % 3],
        domain=("food_safety", "schooling")[index % 2],
    )


def test_every_figure_equals_a_recount(ledger: Ledger, bundle: Bundle) -> None:
    busy(ledger)
    model = table(ledger, bundle)
    since, until = "2026-10-31 16:00:00.000000", "2026-11-30 16:00:00.000000"
    span = {"since": since, "until": until}
    led = dict(
        rows(
            ledger,
            """SELECT json_extract(payload, '$.department'), count(DISTINCT incident_id) FROM incident_event
               WHERE kind = 'assigned' AND occurred_at < :until GROUP BY 1""",
            until=until,
        )
    )
    assert {one.id: one.led for one in model.departments if one.led} == led
    co = rows(
        ledger,
        """SELECT count(DISTINCT e.incident_id) FROM incident_event e, json_each(e.payload, '$.co') c
           WHERE e.kind = 'assigned' AND c.value = :unit""",
        unit=OTHER,
    )
    assert line(model, OTHER).co == co[0][0] > 0
    # nothing was reassigned and every desk was quick: the holder of the time is the one that answers for it
    counted = {
        row[0]: (row[1], row[2])
        for row in rows(
            ledger,
            """SELECT i.department,
                      sum(d.closed_at IS NOT NULL AND d.closed_at <= d.due_at AND d.closed_at < :until),
                      sum((d.closed_at IS NULL OR d.closed_at > d.due_at) AND d.due_at < :until)
               FROM deadline d JOIN incident i ON i.id = d.incident_id GROUP BY 1""",
            until=until,
        )
    }
    charged = {one.id: (one.rate.kept, one.rate.missed + one.others) for one in model.departments}
    assert charged == counted
    for one in model.departments:
        if one.rate.share is not None:
            assert one.rate.share == one.rate.kept / (one.rate.kept + one.rate.missed)
            assert (one.rate.low, one.rate.high) == wilson(one.rate.kept, one.rate.kept + one.rate.missed)
    signed = rows(
        ledger,
        """SELECT i.department, (julianday(s.occurred_at) - julianday(a.occurred_at)) * 86400
           FROM incident_event s JOIN incident_event a ON a.incident_id = s.incident_id AND a.kind = 'assigned'
           JOIN incident i ON i.id = s.incident_id
           WHERE s.kind = 'signed' AND s.occurred_at >= :since AND s.occurred_at < :until ORDER BY 2""",
        **span,
    )
    answered = rows(
        ledger,
        """SELECT i.department, (julianday(r.occurred_at) - julianday(a.occurred_at)) * 86400
           FROM incident_event r JOIN incident_event a ON a.incident_id = r.incident_id AND a.kind = 'assigned'
           JOIN incident i ON i.id = r.incident_id
           WHERE r.kind = 'responded' AND r.occurred_at >= :since AND r.occurred_at < :until ORDER BY 2""",
        **span,
    )
    for one in model.departments:
        for said, found in ((one.sign, signed), (one.answer, answered)):
            lengths = [round(value) for unit, value in found if unit == one.id]
            assert said.n == len(lengths)
            if lengths:
                middle = len(lengths) // 2
                median = (lengths[middle] + lengths[~middle]) / 2
                assert said.median == pytest.approx(median, abs=1)
                assert said.worst == pytest.approx(lengths[-1], abs=1)
    assert sum(part.cases for part in model.mix) == model.cases == 60
    opened = rows(
        ledger,
        "SELECT department, count(*) FROM incident WHERE state IN ('assigned', 'acknowledged', 'responded') GROUP BY 1",
    )
    assert {one.id: one.open for one in model.departments} == dict(opened)
    desk = rows(
        ledger,
        """SELECT round(sum((julianday(a.occurred_at) - julianday(k.occurred_at)) * 86400)) FROM incident_event k
           JOIN incident_event a ON a.incident_id = k.incident_id AND a.kind = 'assigned'
           WHERE k.kind = 'page_acknowledged'""",
    )
    part = next(one for one in model.links if one.part == "acknowledged_assigned")
    assert part.seconds == pytest.approx(desk[0][0], abs=2)


def test_the_expected_rate_follows_the_mix_by_hand(ledger: Ledger, bundle: Bundle) -> None:
    busy(ledger)
    model = table(ledger, bundle)
    cells: dict[tuple[str, str], list[int]] = {}
    mine: dict[tuple[str, str], int] = {}
    for one in model.departments:
        for part in one.mix:
            cell = cells.setdefault((part.domain, part.level), [0, 0])
            cell[0] += part.kept
            cell[1] += part.missed
    for part in line(model).mix:
        mine[part.domain, part.level] = part.kept + part.missed
    total = sum(mine.values())
    by_hand = sum(n * cells[cell][0] / sum(cells[cell]) for cell, n in mine.items() if n) / total
    assert line(model).expected == pytest.approx(by_hand)


def test_standardisation_and_groups_of_invented_numbers() -> None:
    hard, easy = ("housing", "major"), ("housing", "general")
    a, b = {hard: (10, 10), easy: (0, 0)}, {hard: (0, 0), easy: (19, 1)}
    every = together([a, b])
    assert expected(a, every) == 0.5
    assert expected(b, every) == 0.95
    assert expected({}, every) is None
    both = [("x", rate(95, 5, 10)), ("y", rate(90, 10, 10)), ("z", rate(30, 70, 10)), ("few", rate(1, 8, 10))]
    assert groups(both) == {"x": 1, "y": 1, "z": 2}
    chain = [("x", rate(98, 2, 10)), ("y", rate(20, 3, 10)), ("z", rate(70, 30, 10))]
    assert groups(chain) == {"x": 1, "y": 1, "z": 1}, "y overlaps with both: nobody is told apart"
    assert rate(9, 0, 10) == Rate(kept=9, missed=0, share=None, low=None, high=None)


def test_everybody_near_the_ceiling_is_said_and_one_group(ledger: Ledger, bundle: Bundle) -> None:
    with ledger.at_once():
        for index in range(24):
            ledger.plain((UNIT, OTHER)[index % 2], begun=MONDAY + timedelta(hours=index))
    model = table(ledger, bundle)
    assert model.near_ceiling
    assert model.one_group
    assert [one.group for one in model.departments] == [1, 1]
    assert not table(ledger, bundle, "2026-10", DECEMBER).near_ceiling


def test_cards_are_counted_once_and_those_of_others_clocks_named(ledger: Ledger, bundle: Bundle) -> None:
    from incidents import outbox

    late = ledger.plain(UNIT, answered=60)
    slept = ledger.plain(UNIT, assigned=47, answered=57, begun=MONDAY + timedelta(hours=1))
    numbers = dict(rows(ledger, "SELECT incident_id, id FROM deadline"))
    with ledger.db.transaction() as session:
        for made in (late, slept):
            for recipient in ("lin@example.invalid", "office@example.invalid"):
                for kind, hours in (("yellow", 47.5), ("red", 49)):
                    outbox.enqueue(
                        session,
                        id=outbox.message_id(made.id, 1, numbers[made.id], recipient, "email", kind, ""),
                        incident_id=made.id,
                        kind=kind,
                        step=numbers[made.id],
                        recipient=recipient,
                        channel="email",
                        priority=2,
                        message={},
                        now=made.at(hours),
                    )
    own = line(table(ledger, bundle))
    assert (own.yellow, own.red, own.red_not_own) == (2, 2, 1)


# --- periods and the stored form ----------------------------------------------------------------------------------


def test_periods_have_names_and_bounds_in_local_time() -> None:
    now = datetime(2027, 3, 1, tzinfo=ZONE)
    bounds = {
        "2026-W53": ("2026-12-28", "2027-01-04"),
        "2026-12": ("2026-12-01", "2027-01-01"),
        "2026-Q4": ("2026-10-01", "2027-01-01"),
        "2026": ("2026-01-01", "2027-01-01"),
    }
    for name, (since, until) in bounds.items():
        span = named(name, now, ZONE)
        assert (f"{span.since:%Y-%m-%d}", f"{span.until:%Y-%m-%d}") == (since, until)
        assert span.since.hour == 0
        assert name_of(span.kind, span.since.date()) == name
    assert name_before("quarterly", date(2027, 1, 5)) == "2026-Q4"
    assert name_before("yearly", date(2027, 1, 5)) == "2026"
    for wrong in ("2026-13", "2026-W54", "2026-Q5", "26", "2026-1", "", "9999", "0000", "2027-W20"):
        with pytest.raises(PeriodError):
            named(wrong, now, ZONE)


def test_a_past_table_reads_the_same_whenever_it_is_built_and_comes_back_from_json(
    ledger: Ledger, bundle: Bundle
) -> None:
    busy(ledger)
    first = table(ledger, bundle)
    again = table(ledger, bundle, now=DECEMBER + timedelta(days=40))
    assert first.digest() == again.digest()
    assert AccountabilityModel.model_validate(json.loads(json.dumps(first.stored()))) == first
    assert table(ledger, bundle, "2026-10").empty
