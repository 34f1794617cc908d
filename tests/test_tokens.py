"""Signed links: genuine ones work, changed, foreign and old ones do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.tokens import (
    AckClaim,
    BadToken,
    FeedClaim,
    HandoverClaim,
    sign_ack,
    sign_feed,
    sign_handover,
    verify_ack,
    verify_feed,
    verify_handover,
)

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
KEY = b"k" * 32
HANDOVER = HandoverClaim("primary", NOW, "taken", "li-na", NOW + timedelta(hours=72))
FEED = FeedClaim(3, NOW)
CLAIM = AckClaim(17, 2, 1, "li-na", NOW + timedelta(hours=72))


def test_a_genuine_link_gives_back_its_claim() -> None:
    assert verify_ack(KEY, sign_ack(KEY, CLAIM), NOW) == CLAIM


def test_an_old_link_is_expired() -> None:
    with pytest.raises(BadToken, match="expired"):
        verify_ack(KEY, sign_ack(KEY, CLAIM), NOW + timedelta(hours=73))


def test_a_link_of_another_installation_is_forged() -> None:
    with pytest.raises(BadToken, match="forged"):
        verify_ack(KEY, sign_ack(b"x" * 32, CLAIM), NOW)


def refused_or_same(token: str) -> bool:
    try:
        return verify_ack(KEY, token, NOW) == CLAIM  # base64 has spare bits: same bytes, same claim
    except BadToken as error:
        return error.reason == "forged"


def test_no_changed_character_gives_another_claim() -> None:
    token = sign_ack(KEY, CLAIM)
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        assert refused_or_same(changed), changed


def test_another_claim_cannot_carry_this_signature() -> None:
    _, _, signature = sign_ack(KEY, CLAIM).partition(".")
    body, _, _ = sign_ack(KEY, replace(CLAIM, person="someone-else")).partition(".")
    with pytest.raises(BadToken, match="forged"):
        verify_ack(KEY, f"{body}.{signature}", NOW)


@given(st.text())
def test_garbage_is_forged_and_never_crashes(text: str) -> None:
    with pytest.raises(BadToken, match="forged"):
        verify_ack(KEY, text, NOW)


def test_links_of_other_kinds_work_for_their_own_kind_only() -> None:
    assert verify_handover(KEY, sign_handover(KEY, HANDOVER), NOW) == HANDOVER
    assert verify_feed(KEY, sign_feed(KEY, FEED)) == FEED
    with pytest.raises(BadToken, match="expired"):
        verify_handover(KEY, sign_handover(KEY, HANDOVER), NOW + timedelta(hours=73))
    tokens = {
        "ack": sign_ack(KEY, CLAIM),
        "handover": sign_handover(KEY, HANDOVER),
        "feed": sign_feed(KEY, FEED),
    }
    readers: dict[str, Callable[[str], object]] = {
        "ack": lambda token: verify_ack(KEY, token, NOW),
        "handover": lambda token: verify_handover(KEY, token, NOW),
        "feed": lambda token: verify_feed(KEY, token),
    }
    for kind, read in readers.items():
        for other, token in tokens.items():
            if other != kind:
                with pytest.raises(BadToken, match="forged"):
                    read(token)


def test_acknowledgement_links_that_were_sent_before_an_upgrade_still_work() -> None:
    """Written by the version that knew acknowledgements only."""
    assert sign_ack(KEY, CLAIM) == "WzE3LDIsMSwibGktbmEiLDE3NzI2Nzk2MDBd.elpXa7BZVSmMTZrWz-9CFw"
