"""The life cycle as pure functions: what each state allows, and what random histories may never break."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.states import (
    FALSE_ALARM_REASONS,
    LEVELS,
    MOVES,
    OPEN_STATES,
    STATE_ZH,
    Acknowledge,
    Assign,
    Close,
    Command,
    Confirm,
    Detect,
    Evaluate,
    FalseAlarm,
    Merge,
    Note,
    Refused,
    Reopen,
    Respond,
    Restore,
    Return,
    SetLevel,
    SignFor,
    Situation,
    State,
    Unmerge,
    allowed,
    decide,
    evolve,
)

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def after(*commands: Command, start: Situation | None = None) -> Situation:
    now = start or Situation()
    for minute, command in enumerate(commands):
        at = T0 + timedelta(minutes=minute)
        for fact in decide(now, command, at):
            now = evolve(now, fact, at)
    return now


DETECT = Detect("fast", {"rule": "test"}, "serious")
WHOLE_LIFE: tuple[Command, ...] = (
    DETECT,
    Acknowledge(epoch=1),
    Confirm(),
    Assign("edu", reason="food in a school"),
    SignFor("Wang"),
    Respond("https://jinan.example.invalid/1"),
    Evaluate(80),
    Close(),
)


def test_a_whole_life_passes_every_state_and_keeps_each_instant() -> None:
    end = after(*WHOLE_LIFE)
    assert end.state == State.CLOSED
    assert end.version == len(WHOLE_LIFE)
    assert set(end.times) == {
        "detected_at",
        "acknowledged_at",
        "confirmed_at",
        "assigned_at",
        "responded_at",
        "evaluated_at",
        "closed_at",
    }
    assert end.times["detected_at"] == T0
    assert (end.epoch, end.round) == (2, 1)


def test_reassignment_return_and_reopening_raise_the_epoch() -> None:
    assigned = after(*WHOLE_LIFE[:4])
    assert after(Assign("health", reason="not a school"), start=assigned).epoch == assigned.epoch + 1
    returned = after(Return("not ours"), start=assigned)
    assert (returned.state, returned.department, returned.epoch) == (State.CONFIRMED, "", assigned.epoch + 1)
    closed = after(*WHOLE_LIFE)
    reopened = after(Reopen("it goes on"), start=closed)
    assert (reopened.state, reopened.epoch, reopened.round) == (State.CONFIRMED, closed.epoch + 1, 2)
    assert "responded_at" not in reopened.times


def test_a_press_on_an_old_button_is_refused() -> None:
    assigned = after(*WHOLE_LIFE[:4])
    with pytest.raises(Refused, match="already reassigned"):
        decide(assigned, Acknowledge(epoch=1), T0)


def test_only_the_first_acknowledgement_of_an_epoch_is_first() -> None:
    detected = after(DETECT)
    first = decide(detected, Acknowledge(epoch=1), T0)[0]
    assert first.payload["first"] is True
    second = decide(evolve(detected, first, T0), Acknowledge(epoch=1), T0)[0]
    assert second.payload["first"] is False


def test_unmerge_goes_back_to_where_it_was() -> None:
    for commands in (WHOLE_LIFE[:1], WHOLE_LIFE[:3], WHOLE_LIFE[:4]):
        before = after(*commands)
        back = after(Merge(99), Unmerge(), start=before)
        # in an epoch of its own: whoever was asked before the merge is asked again
        assert back.epoch == before.epoch + 1
        assert replace(back, version=0, epoch=0) == replace(before, version=0, epoch=0)


@pytest.mark.parametrize(
    ("commands", "command", "message"),
    [
        ((), Confirm(), "state 'watching'"),
        ((DETECT,), Close(), "state 'detected'"),
        ((DETECT,), FalseAlarm("bored"), "unknown reason"),
        ((DETECT,), SetLevel("general"), "needs a reason"),
        ((DETECT,), SetLevel("serious"), "already is"),
        ((DETECT,), SetLevel("huge"), "unknown level"),
        ((DETECT,), Note("  "), "note is empty"),
        ((DETECT, Confirm()), Assign(" "), "name the department"),
        ((DETECT, Confirm(), Assign("edu")), Assign("health"), "needs a reason"),
        ((DETECT, Confirm(), Assign("edu")), Return(" "), "needs a reason"),
        ((DETECT, Confirm(), Assign("edu")), Respond(""), "as evidence"),
        (
            (DETECT, Confirm(), Assign("edu")),
            Respond("u", published_at=T0 + timedelta(days=1)),
            "in the future",
        ),
        ((DETECT, Confirm(), Assign("edu"), SignFor()), FalseAlarm("other"), "needs a written reason"),
        (WHOLE_LIFE[:6], Evaluate(101), "between 0 and 100"),
        (WHOLE_LIFE, Reopen(""), "needs a reason"),
        ((DETECT, FalseAlarm("other")), Restore(""), "needs a reason"),
        ((DETECT,), Detect("fast", {}), "state 'detected'"),
        ((), Detect("guess", {}), "unknown track"),
    ],
)
def test_refusals_say_why(commands: tuple[Command, ...], command: Command, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        decide(after(*commands), command, T0)
    assert caught.value.zh
    assert caught.value.zh != caught.value.en


def test_every_state_has_a_chinese_name_and_its_moves() -> None:
    assert set(STATE_ZH) == set(State) == set(MOVES)
    assert [state for state in State if Note not in allowed(state)] == [State.WATCHING]


COMMANDS = st.one_of(
    st.just(DETECT),
    st.builds(Acknowledge, epoch=st.integers(0, 6)),
    st.just(Confirm()),
    st.builds(
        FalseAlarm, st.sampled_from([*FALSE_ALARM_REASONS, "nonsense"]), st.sampled_from(["", "seen on site"])
    ),
    st.just(Merge(99)),
    st.just(Unmerge()),
    st.builds(Assign, st.sampled_from(["edu", "health", ""]), reason=st.sampled_from(["", "why"])),
    st.just(SignFor("Li")),
    st.builds(Return, st.sampled_from(["", "not ours"])),
    st.builds(Respond, st.sampled_from(["", "https://example.invalid/answer"])),
    st.builds(Evaluate, st.floats(-10, 110)),
    st.just(Close()),
    st.builds(Reopen, st.sampled_from(["", "again"])),
    st.builds(Restore, st.sampled_from(["", "was real"])),
    st.builds(SetLevel, st.sampled_from(LEVELS), st.sampled_from(["", "seen"])),
    st.builds(Note, st.sampled_from(["", "text"])),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMANDS, max_size=60))
def test_no_history_breaks_the_rules(commands: list[Command]) -> None:
    now = Situation()
    for minute, command in enumerate(commands):
        at = T0 + timedelta(minutes=minute)
        before = now
        try:
            facts = decide(now, command, at)
        except Refused:
            assert now == before
            continue
        assert type(command) in allowed(before.state)
        for fact in facts:
            now = evolve(now, fact, at)
        assert now.version == before.version + len(facts)
        assert before.epoch <= now.epoch <= before.epoch + 1
        assert before.round <= now.round <= before.round + 1
        assert (now.state == State.MERGED) == (now.parent_id is not None)
        assert (now.state == State.WATCHING) == (now.version == 0)
        if now.state in OPEN_STATES:
            assert "detected_at" in now.times
        if now.state in (State.ASSIGNED, State.ACKNOWLEDGED):
            assert now.department
        if before.page_acknowledged_epoch >= before.epoch and now.epoch > before.epoch:
            assert now.page_acknowledged_epoch < now.epoch, "an acknowledgement must not stop the next epoch"


def test_a_machine_only_proposes_major_until_a_person_names_the_grade() -> None:
    proposed = after(Detect("burst", {}, "major"))
    assert proposed.proposed
    assert not after(Detect("burst", {}, "serious")).proposed
    assert not after(Detect("manual", {}, "critical")).proposed
    # real, but nobody has said how grave: still proposed
    assert after(Detect("burst", {}, "major"), Confirm()).proposed
    definite = after(Detect("burst", {}, "major"), Confirm(level="major"))
    assert (definite.state, definite.level, definite.proposed) == (State.CONFIRMED, "major", False)
    other = after(Detect("burst", {}, "major"), Confirm("only one household", "serious"))
    assert (other.state, other.level, other.proposed) == (State.CONFIRMED, "serious", False)
    assert not after(Detect("burst", {}, "major"), SetLevel("major")).proposed
    with pytest.raises(Refused, match="needs a reason"):
        after(Detect("burst", {}, "major"), Confirm(level="serious"))
    with pytest.raises(Refused, match="unknown level"):
        after(Detect("burst", {}, "major"), Confirm(level="huge"))
