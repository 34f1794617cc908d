"""Who is on duty when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.files import DEFAULTS
from config.roster import ROLES, Roster, load_roster
from config.settings import ConfigError

ZONE = ZoneInfo("Asia/Shanghai")
PEOPLE = [
    {"id": name, "name": name.upper(), "email": f"{name}@example.invalid"} for name in ("ann", "bob", "cyn")
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def roster(**changes: Any) -> Roster:
    """Weekdays: ann by day, bob by night; nobody at the weekend; cyn is the fallback."""
    data: dict[str, Any] = {
        "version": "v12",
        "people": PEOPLE,
        "fallback": "cyn",
        "weekly": [
            {
                "name": "白班",
                "days": ["mon", "tue", "wed", "thu", "fri"],
                "from": "08:00",
                "until": "20:00",
                "primary": "ann",
            },
            {
                "name": "夜班",
                "days": ["mon", "tue", "wed", "thu", "fri"],
                "from": "20:00",
                "until": "08:00",
                "primary": "bob",
            },
        ],
    }
    return Roster.model_validate(data | changes)


@pytest.mark.parametrize(
    ("when", "who"),
    [
        ("2026-11-23T08:00", "ann"),
        ("2026-11-23T19:59", "ann"),
        ("2026-11-23T20:00", "bob"),
        ("2026-11-24T07:59", "bob"),
        ("2026-11-24T08:00", "ann"),
        ("2026-11-28T07:59", "bob"),  # Saturday morning belongs to Friday's night shift
        ("2026-11-28T08:00", "cyn"),  # nobody: the fallback
        ("2026-11-23T07:59", "cyn"),  # Monday morning: Sunday has no night shift
    ],
)
def test_the_week_names_the_person(when: str, who: str) -> None:
    assert roster().on_duty(at(when), "primary").person.id == who


def test_the_zone_of_the_question_does_not_matter() -> None:
    local = at("2026-11-23T20:00")
    assert roster().on_duty(local, "primary") == roster().on_duty(local.astimezone(UTC), "primary")


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        roster().on_duty(datetime(2026, 11, 23, 8), "primary")  # noqa: DTZ001


def test_the_reason_names_the_line_of_the_roster() -> None:
    found = roster().on_duty(at("2026-11-24T02:00"), "primary")
    assert found.reason == "值班表 v12 11月23日 周一 夜班 主班: BOB"
    assert not found.fallback


def test_the_reason_is_told_in_english_too() -> None:
    found = roster().on_duty(at("2026-11-24T02:00"), "primary")
    assert found.why("en") == "duty roster v12, 2026-11-23 Mon 20:00–08:00, primary: BOB"
    assert found.why("zh_CN") == found.reason
    nobody = roster().on_duty(at("2026-11-28T12:00"), "leader")
    assert (
        nobody.why("en") == "duty roster 2026-11-28 12:00, nobody as leader in charge, so the fallback: CYN"
    )


def test_an_uncovered_time_says_that_it_is_one() -> None:
    found = roster().on_duty(at("2026-11-28T12:00"), "leader")
    assert found.fallback
    assert found.person.id == "cyn"
    assert found.reason == "值班表 11月28日 12:00 带班领导无人, 由兜底人员接收: CYN"


def test_a_dated_change_wins_over_the_week_and_a_later_one_over_an_earlier() -> None:
    changed = roster(
        overrides=[
            {
                "from": "2026-11-23 08:00",
                "until": "2026-11-24 08:00",
                "role": "primary",
                "person": "bob",
                "reason": "代班",
            },
            {
                "from": "2026-11-23 10:00",
                "until": "2026-11-23 11:00",
                "role": "primary",
                "person": "cyn",
                "reason": "会议",
            },
        ]
    )
    assert changed.on_duty(at("2026-11-23T09:00"), "primary").person.id == "bob"
    found = changed.on_duty(at("2026-11-23T10:30"), "primary")
    assert found.person.id == "cyn"
    assert found.reason == "值班表 v12 11月23日 主班, 会议: CYN"
    assert changed.on_duty(at("2026-11-24T08:00"), "primary").person.id == "ann"


def test_an_earlier_line_of_the_week_wins() -> None:
    lines = [
        {"days": ["mon"], "from": "08:00", "until": "12:00", "primary": "cyn"},
        {"days": ["mon"], "from": "08:00", "until": "20:00", "primary": "ann"},
    ]
    assert roster(weekly=lines).on_duty(at("2026-11-23T09:00"), "primary").person.id == "cyn"
    assert roster(weekly=lines).on_duty(at("2026-11-23T12:00"), "primary").person.id == "ann"


def test_a_shift_of_one_role_does_not_hide_another_shift_with_that_role() -> None:
    lines = [
        {"from": "00:00", "until": "24:00", "leader": "cyn"},
        {"from": "08:00", "until": "20:00", "primary": "ann"},
    ]
    assert roster(weekly=lines).on_duty(at("2026-11-23T09:00"), "primary").person.id == "ann"
    assert roster(weekly=lines).on_duty(at("2026-11-23T23:59"), "leader").person.id == "cyn"


def test_gaps_are_exact() -> None:
    found = roster().gaps(at("2026-11-23T00:00"), at("2026-11-30T00:00"))
    primary = [(gap.start, gap.until) for gap in found if gap.role == "primary"]
    assert primary == [
        (at("2026-11-23T00:00"), at("2026-11-23T08:00")),
        (at("2026-11-28T08:00"), at("2026-11-30T00:00")),
    ]
    leader = [(gap.start, gap.until) for gap in found if gap.role == "leader"]
    assert leader == [(at("2026-11-23T00:00"), at("2026-11-30T00:00"))]


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
            st.integers(0, 23),
            st.integers(1, 24),
            st.sampled_from(["primary", "secondary"]),
        ),
        max_size=4,
    ),
    st.integers(0, 7 * 24 * 60 - 1),
)
def test_a_minute_lies_in_a_gap_exactly_if_nobody_is_rostered(
    lines: list[tuple[set[str], int, int, str]], minute: int
) -> None:
    weekly = [
        {"days": sorted(days), "from": f"{start:02}:00", "until": f"{until:02}:00", role: "ann"}
        for days, start, until, role in lines
    ]
    table = roster(weekly=weekly)
    start = at("2026-11-23T00:00")
    moment = start + timedelta(minutes=minute)
    gaps = table.gaps(start, start + timedelta(days=7))
    for role in ROLES:
        inside = any(gap.role == role and gap.start <= moment < gap.until for gap in gaps)
        assert inside == (table.rostered(moment, role) is None)
        assert inside == table.on_duty(moment, role).fallback


def test_the_default_roster_has_no_gap_and_no_real_person() -> None:
    table = load_roster(DEFAULTS / "roster.yaml")
    assert table.gaps(at("2026-11-23T00:00"), at("2026-12-24T00:00")) == ()
    assert all(person.email.endswith("@example.invalid") for person in table.people)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("primary: ann", "weekly.0.primary = 'ann': no such person; expected one of lin-dong"),
        ("from: 8:00", "weekly.0.from = '8:00'"),
        ("days: [monday]", "weekly.0.days.0 = 'monday'"),
        ("primari: lin-dong", "weekly.0.primari: unknown key; did you mean `primary`?"),
    ],
)
def test_a_wrong_shift_says_where(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "roster.yaml"
    keys = {"from": '"08:00"', "until": '"20:00"'}
    key = text.split(":")[0]
    lines = [f"    {name}: {value}" for name, value in keys.items() if name != key]
    path.write_text(
        "fallback: lin-dong\npeople:\n  - {id: lin-dong, name: 林, email: a@example.invalid}\nweekly:\n  -\n"
        + "\n".join([*lines, f"    {text}"]),
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_roster(path)
    assert expected in "\n".join(caught.value.problems)


def test_unquoted_clock_times_are_text_and_not_sixties(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text(
        "fallback: a1\npeople:\n  - {id: a1, name: 林, email: a@example.invalid}\n"
        "weekly:\n  - {from: 08:00, until: 20:00, primary: a1}\n"
        "overrides:\n  - {from: 2026-10-01 08:00, until: 2026-10-02 08:00, role: leader, person: a1}\n",
        "utf-8",
    )
    table = load_roster(path)
    assert (table.weekly[0].start, table.weekly[0].until) == ("08:00", "20:00")
    assert table.on_duty(at("2026-10-01T12:00"), "leader").reason.endswith("代班: 林")


def test_an_override_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="until must be after from"):
        roster(
            overrides=[
                {"from": "2026-10-02 08:00", "until": "2026-10-01 08:00", "role": "leader", "person": "ann"}
            ]
        )
