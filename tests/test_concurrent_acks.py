"""G7: a thousand acknowledgements at once, by five routes: one is the first, every one is recorded, nothing forged acts."""

from __future__ import annotations

import base64
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from alerts import slack_actions
from config.tokens import AckClaim, BadToken, sign_ack, verify_ack
from console.app import create_app
from incidents import events
from incidents.lifecycle import handle_or_refuse
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Acknowledge, Refused
from tests.alert_office import KEYS, ROSTER, T0, Office, bundle_for
from tests.conftest import AUDIT_KEY
from tests.console_world import _InProcess, hidden

CALLS = 1000
ROUTES = ("console", "link", "slack", "api", "cli")


@pytest.fixture
def office(any_db: Database, tmp_path: Path, post: Callable[..., NewPost]) -> Office:
    roster = ROSTER.replace("lin@jinan.example}", "lin@jinan.example, slack_user: U0LIN}")
    office = Office(any_db, bundle_for(tmp_path, roster=roster)).detect(post)
    office.work()
    return office


def link(office: Office, browser: httpx.Client, person: str) -> int:
    """Open the signed link and press its button."""
    token = sign_ack(KEYS.links, AckClaim(office.incident_id, 1, 1, person, office.now + timedelta(hours=1)))
    html = browser.get(f"/a/{token}").text
    if f'action="/a/{token}"' not in html:
        return 0  # the page says who has acknowledged and asks for nothing any more
    return browser.post(
        f"/a/{token}", data=hidden(html, f"/a/{token}"), headers={"Origin": "http://console.test"}
    ).status_code


@pytest.mark.slow
def test_of_a_thousand_acknowledgements_one_is_the_first(office: Office) -> None:
    app = create_app(office.db, office.bundle, KEYS, lambda: office.now)
    took: list[float] = []

    def press(number: int) -> str:
        route = ROUTES[number % 5]
        begun = time.perf_counter()
        try:
            if route == "link" and number % 50 == 1:  # the whole way through the console for some of them
                browser = httpx.Client(transport=_InProcess(app), base_url="http://console.test")
                return f"link {link(office, browser, f'person-{number}')}"
            if route == "slack":
                payload = {
                    "type": "block_actions",
                    "user": {"id": "U0LIN"},
                    "channel": {"id": "C0QUANSHENG"},
                    "actions": [
                        {
                            "action_id": "qs_ack",
                            "value": slack_actions.value(
                                KEYS, office.bundle, office.incident_id, 1, 1, office.now
                            ),
                            "action_ts": f"{number}.1",
                        }
                    ],
                }
                return slack_actions.handle(office.db, office.bundle, KEYS, payload, office.now).ephemeral
            handle_or_refuse(
                office.db,
                office.incident_id,
                Acknowledge(epoch=1, step=1),
                actor=f"person-{number}",
                channel=route,
                now=office.now,
                idempotency_key=f"{office.incident_id}:{route}:{number}",
            )
        except Refused as refusal:
            return f"refused: {refusal}"
        finally:
            took.append(time.perf_counter() - begun)
        return "done"

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(press, range(CALLS)))
    history = office.history("page_acknowledged")
    assert sum(event.payload["first"] for event in history) == 1
    assert len(history) == CALLS - answers["link 0"], answers
    assert set(answers) <= {"done", "已确认收到。", "link 303", "link 0"}
    assert {event.channel for event in history} == set(ROUTES)
    with office.db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
    took.sort()
    sys.stdout.write(
        f"\n{CALLS} acknowledgements by 16 threads: median {took[500] * 1000:.0f} ms, p99 {took[989] * 1000:.0f} ms, "
        f"max {took[-1] * 1000:.0f} ms\n"
    )


def test_the_same_press_again_and_again_is_recorded_once(office: Office) -> None:
    def press(_: int) -> bool:
        return handle_or_refuse(
            office.db,
            office.incident_id,
            Acknowledge(epoch=1),
            actor="lin",
            channel="link",
            now=office.now,
            idempotency_key="the same key",
        ).repeated

    with ThreadPoolExecutor(8) as pool:
        repeated = list(pool.map(press, range(60)))
    assert repeated.count(False) == 1
    assert len(office.history("page_acknowledged")) == 1


def test_ten_thousand_spoilt_tokens_are_all_refused() -> None:
    chance = random.Random(7)
    good = sign_ack(KEYS.links, AckClaim(17, 2, 1, "lin", T0 + timedelta(hours=1)))
    assert verify_ack(KEYS.links, good, T0).incident_id == 17
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    reasons: Counter[str] = Counter()

    def spoil() -> str:
        way = chance.randrange(6)
        at = chance.randrange(len(good))
        if way == 0:
            return good[:at] + chance.choice(alphabet) + good[at + 1 :]
        if way == 1:
            return good[:at]
        if way == 2:
            return good[:at] + chance.choice(alphabet) + good[at:]
        if way == 3:
            return "".join(chance.choice(alphabet) for _ in range(len(good)))
        if way == 4:  # another claim under the old signature
            body = f'[{chance.randrange(999)},2,1,"lin",{int(T0.timestamp()) + 3600}]'
            return (
                base64.urlsafe_b64encode(body.encode()).rstrip(b"=").decode() + "." + good.partition(".")[2]
            )
        return sign_ack(b"another key of the right length...", AckClaim(17, 2, 1, "lin", T0))

    count = 0
    while count < 10_000:
        token = spoil()
        if token == good:
            continue
        count += 1
        try:
            claim = verify_ack(KEYS.links, token, T0)
        except BadToken as bad:
            reasons[bad.reason] += 1
        else:
            reasons[f"taken: {claim}"] += 1
    with pytest.raises(BadToken, match="expired"):
        verify_ack(KEYS.links, good, T0 + timedelta(hours=2))
    assert reasons == {"forged": 10_000}


def test_a_get_of_the_link_never_acknowledges_and_an_old_epoch_s_link_neither(office: Office) -> None:
    app = create_app(office.db, office.bundle, KEYS, lambda: office.now)
    browser = httpx.Client(transport=_InProcess(app), base_url="http://console.test")
    claim = AckClaim(office.incident_id, 1, 1, "lin", office.now + timedelta(hours=1))
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        browser.request(method, f"/a/{sign_ack(KEYS.links, claim)}")
    assert office.history("page_acknowledged") == []
    old = AckClaim(office.incident_id, 0, 1, "lin", office.now + timedelta(hours=1))
    token = sign_ack(KEYS.links, old)
    html = browser.get(f"/a/{token}").text
    if f'action="/a/{token}"' in html:
        answer = browser.post(
            f"/a/{token}", data=hidden(html, f"/a/{token}"), headers={"Origin": "http://console.test"}
        )
        assert answer.status_code == 409
    assert office.history("page_acknowledged") == []
