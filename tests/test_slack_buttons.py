"""Buttons in Slack: a press is one command, confirmed only after it is committed; stale, strange and repeated ones do no harm."""

from __future__ import annotations

import copy
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_sdk.signature import SignatureVerifier

from alerts import slack_actions
from alerts.slack_socket import SlackSocket
from config.tokens import AckClaim, sign_ack
from console.app import create_app
from demo.fake_slack import APP_TOKEN, FakeSlack
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Assign, Confirm
from tests.alert_office import KEYS, ROSTER, Office, bundle_for
from tests.console_world import _InProcess  # the console without a port

Posts = Callable[..., NewPost]
WITH_SLACK = ROSTER.replace(
    "email: lin@jinan.example", "email: lin@jinan.example, slack_user: U0LIN"
).replace("email: he@jinan.example", "email: he@jinan.example, slack_user: U0HE")
SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"


@pytest.fixture
def office(db: Database, tmp_path: Path, slack: FakeSlack, post: Posts) -> Office:
    bundle = bundle_for(tmp_path, slack=slack.base_url, roster=WITH_SLACK, send_timeout_s=2)
    settings = bundle.settings.slack.model_copy(
        update={"app_token": _secret(APP_TOKEN), "signing_secret": _secret(SIGNING)}
    )
    object.__setattr__(bundle, "settings", bundle.settings.model_copy(update={"slack": settings}))
    office = Office(db, bundle).detect(post)
    office.work()
    return office


def _secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


@pytest.fixture
def socket(office: Office, slack: FakeSlack) -> Iterator[SlackSocket]:
    made = SlackSocket(office.db, office.bundle, KEYS, lambda: office.now).start()
    _until(lambda: slack.socket.connected)
    yield made
    made.stop()


def _until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def page(slack: FakeSlack) -> dict[str, Any]:
    return next(m for m in slack.messages if "qs_ack" in json.dumps(m["blocks"]))


def test_a_press_acknowledges_in_the_name_of_the_person_and_says_so(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    assert socket.connected
    assert slack.press(page(slack), "qs_ack", "U0LIN") == {}
    (event,) = office.history("page_acknowledged")
    assert (event.actor, event.channel, event.payload["on_behalf"]) == ("lin", "slack", False)
    _until(lambda: slack.ephemeral == [("U0LIN", "已确认收到。")])
    office.work()
    assert slack.edits == 1, "the root shows who has acknowledged"


def test_a_press_that_slack_delivers_again_acts_once(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    for _ in range(3):
        assert slack.press(page(slack), "qs_ack", "U0LIN", stamp="17.1") == {}
    assert len(office.history("page_acknowledged")) == 1


def test_a_button_of_an_earlier_epoch_answers_kindly_and_changes_nothing(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    old = copy.deepcopy(page(slack))  # as somebody's phone still shows it
    office.do(Confirm()).do(Assign("education")).work()
    before = len(office.history())
    assert slack.press(old, "qs_ack", "U0LIN") == {}
    _until(lambda: bool(slack.ephemeral))
    assert "已转办" in slack.ephemeral[0][1]
    assert len(office.history()) == before


def test_somebody_whom_the_roster_does_not_know_is_refused_and_noted(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    assert slack.press(page(slack), "qs_ack", "U0STRANGER") == {}
    _until(lambda: bool(slack.ephemeral))
    assert "未与值班人员关联" in slack.ephemeral[0][1]
    assert office.history("page_acknowledged") == []


def test_who_was_not_asked_acknowledges_on_behalf(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    object.__setattr__(
        office.bundle,
        "roster",
        office.bundle.roster.model_copy(
            update={
                "weekly": tuple(
                    s.model_copy(update={"secondary": "lin"}) for s in office.bundle.roster.weekly
                )
            }
        ),
    )
    slack.press(page(slack), "qs_ack", "U0HE")
    assert office.history("page_acknowledged")[0].payload["on_behalf"] is True


def test_a_false_alarm_asks_for_its_reason_in_a_form(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    assert slack.press(page(slack), "qs_false", "U0LIN") == {}
    (view,) = slack.forms.values()
    assert office.incident.state == "detected", "a form is not an act"
    nothing = {"reason": {"reason": {"selected_option": None}}, "note": {"note": {"value": None}}}
    answer = slack.submit(view, "U0LIN", nothing)
    assert answer is not None
    assert answer["response_action"] == "errors"
    good = {
        "reason": {"reason": {"selected_option": {"value": "wrong_place"}}},
        "note": {"note": {"value": "外省"}},
    }
    assert slack.submit(view, "U0LIN", good) == {}
    assert office.incident.state == "false_alarm"
    (event,) = office.history("false_alarm")
    assert (event.payload["reason"], event.payload["note"]) == ("wrong_place", "外省")


def test_confirming_works_and_a_second_time_is_told_why_not(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    slack.press(page(slack), "qs_confirm", "U0LIN")
    assert office.incident.state == "confirmed"
    slack.press(page(slack), "qs_confirm", "U0HE")
    _until(lambda: len(slack.ephemeral) == 2)
    assert "不能执行此操作" in slack.ephemeral[1][1]


def test_a_press_that_cannot_be_committed_is_not_confirmed(
    office: Office, slack: FakeSlack, socket: SlackSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from incidents.trouble import DatabaseTrouble

    def locked(*_: object, **__: object) -> None:
        raise DatabaseTrouble("the database is locked")

    with monkeypatch.context() as patched:
        patched.setattr("alerts.slack_actions.lifecycle.handle_or_refuse", locked)
        assert (
            slack.socket.deliver(
                {
                    "type": "block_actions",
                    "user": {"id": "U0LIN"},
                    "channel": {"id": "C0QUANSHENG"},
                    "actions": [
                        {
                            "action_id": "qs_ack",
                            "value": slack_actions.value(
                                KEYS, office.bundle, office.incident_id, 1, 1, office.now
                            ),
                            "action_ts": "1.1",
                        }
                    ],
                },
                patience_s=0.5,
            )
            is None
        )
    assert slack.press(page(slack), "qs_ack", "U0LIN") == {}
    assert len(office.history("page_acknowledged")) == 1


def test_a_broken_connection_comes_back_by_itself(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    slack.socket.drop()
    _until(lambda: not slack.socket.connected)
    _until(lambda: slack.socket.connected, 30)
    assert slack.press(page(slack), "qs_ack", "U0LIN") == {}


def test_forged_and_expired_buttons_do_nothing(office: Office) -> None:
    def press(value: str, now: Any = None) -> str:
        payload = {
            "type": "block_actions",
            "user": {"id": "U0LIN"},
            "channel": {"id": "C0QUANSHENG"},
            "actions": [{"action_id": "qs_ack", "value": value, "action_ts": "1.1"}],
        }
        return slack_actions.handle(office.db, office.bundle, KEYS, payload, now or office.now).ephemeral

    good = slack_actions.value(KEYS, office.bundle, office.incident_id, 1, 1, office.now)
    link = sign_ack(KEYS.links, AckClaim(office.incident_id, 1, 1, "lin", office.now + timedelta(hours=1)))
    assert press(good[:-1] + ("A" if good[-1] != "A" else "B")) == "该按钮无效。"
    assert press(link) == "该按钮无效。", "a link's token is no button's"
    assert press("") == "该按钮无效。"
    assert "已过期" in press(good, office.now + timedelta(days=4))
    assert office.history("page_acknowledged") == []


def test_a_button_s_token_is_no_acknowledgement_link(office: Office) -> None:
    import httpx

    token = slack_actions.value(KEYS, office.bundle, office.incident_id, 1, 1, office.now)
    app = create_app(office.db, office.bundle, KEYS, lambda: office.now)
    browser = httpx.Client(transport=_InProcess(app), base_url="http://console.test")
    assert browser.get(f"/a/{token}").status_code == 404


def test_the_http_way_checks_slack_s_signature_and_its_age(office: Office, slack: FakeSlack) -> None:
    import httpx

    app = create_app(office.db, office.bundle, KEYS, lambda: office.now)
    browser = httpx.Client(transport=_InProcess(app), base_url="http://console.test")
    payload = {
        "type": "block_actions",
        "user": {"id": "U0LIN"},
        "channel": {"id": "C0QUANSHENG"},
        "actions": [
            {
                "action_id": "qs_ack",
                "value": slack_actions.value(KEYS, office.bundle, office.incident_id, 1, 1, office.now),
                "action_ts": "9.9",
            }
        ],
    }
    body = urlencode({"payload": json.dumps(payload)})

    def send(at: Any, secret: str = SIGNING) -> int:
        stamp = str(int(at.timestamp()))
        headers = {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": str(
                SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
            ),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return browser.post("/slack/interact", content=body, headers=headers).status_code

    assert send(office.now, "wrong") == 401
    assert send(office.now - timedelta(minutes=6)) == 401
    assert browser.post("/slack/interact", content=body).status_code == 401
    assert office.history("page_acknowledged") == []
    assert send(office.now) == 200
    assert send(office.now) == 200
    assert len(office.history("page_acknowledged")) == 1
    assert slack.ephemeral[0] == ("U0LIN", "已确认收到。")


@pytest.mark.slow
def test_two_hundred_presses_are_confirmed_well_within_slack_s_three_seconds(
    office: Office, slack: FakeSlack, socket: SlackSocket
) -> None:
    message = page(slack)
    for number in range(200):
        assert slack.press(message, "qs_ack", ("U0LIN", "U0HE")[number % 2]) == {}
    took = sorted(slack.socket.took_s)
    sys.stdout.write(
        f"\nenvelopes confirmed: median {statistics.median(took) * 1000:.0f} ms, "
        f"p99 {took[197] * 1000:.0f} ms, max {took[-1] * 1000:.0f} ms\n"
    )
    assert len(office.history("page_acknowledged")) == 200
    assert sum(event.payload["first"] for event in office.history("page_acknowledged")) == 1
