"""No message twice on Slack, none lost, and every answer understood for what it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alerts.results import Refused, Retry, Sent, Unknown
from alerts.slack import SlackChannel, SlackPost
from demo.fake_slack import CHANNEL, TOKEN, FakeSlack

POST = SlackPost(
    outbox_id="0f9a1c1e-0000-5000-8000-000000000001",
    channel=CHANNEL,
    text="【重大】历下区 某小学食堂多人呕吐",
    blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": "*历下区* 某小学食堂多人呕吐"}}],
    first_tried_at=datetime(2023, 11, 14, 22, 0, tzinfo=UTC),
)


def channel_of(server: FakeSlack, token: str = TOKEN) -> SlackChannel:
    return SlackChannel(token, server.base_url, 5)


def test_a_message_arrives_with_its_key_and_can_be_found_by_it(slack: FakeSlack) -> None:
    result = channel_of(slack).send(POST, uncertain=False)
    assert result == Sent(f"{CHANNEL}:{slack.messages[0]['ts']}")
    assert slack.messages[0]["metadata"]["event_payload"] == {"outbox_id": POST.outbox_id}
    assert slack.messages[0]["client_msg_id"] == POST.outbox_id


def test_a_lost_answer_is_unknown_and_is_not_sent_again_by_the_library(slack: FakeSlack) -> None:
    slack.moods.append("drop_after_accept")
    assert isinstance(channel_of(slack).send(POST, uncertain=False), Unknown)
    assert len(slack.messages) == 1
    assert len(slack.calls) == 1


def test_after_a_lost_answer_the_message_is_found_and_not_repeated(slack: FakeSlack) -> None:
    slack.moods.append("drop_after_accept")
    channel = channel_of(slack)
    channel.send(POST, uncertain=False)
    result = channel.send(POST, uncertain=True)
    assert result == Sent(f"{CHANNEL}:{slack.messages[0]['ts']}")
    assert len(slack.messages) == 1


def test_a_reply_with_a_lost_answer_is_found_in_its_thread(slack: FakeSlack) -> None:
    channel = channel_of(slack)
    root = channel.send(POST, uncertain=False)
    assert isinstance(root, Sent)
    reply = replace(POST, outbox_id="0f9a1c1e-0000-5000-8000-000000000002", root=root.ref)
    slack.moods.append("drop_after_accept")
    assert isinstance(channel.send(reply, uncertain=False), Unknown)
    assert isinstance(channel.send(reply, uncertain=True), Sent)
    assert [m.get("thread_ts") for m in slack.messages] == [None, slack.messages[0]["ts"]]


def test_a_message_that_never_arrived_is_sent_after_looking(slack: FakeSlack) -> None:
    slack.moods.append("drop_before")
    channel = channel_of(slack)
    assert isinstance(channel.send(POST, uncertain=False), Unknown)
    assert slack.messages == []
    assert isinstance(channel.send(POST, uncertain=True), Sent)
    assert len(slack.messages) == 1


def test_an_old_message_is_found_behind_a_page_of_others(slack: FakeSlack) -> None:
    channel = channel_of(slack)
    channel.send(POST, uncertain=False)
    for number in range(250):
        slack.answer("chat.postMessage", {"channel": CHANNEL, "text": f"chat {number}"}, TOKEN)
    assert isinstance(channel.send(POST, uncertain=True), Sent)
    assert sum("metadata" in message for message in slack.messages) == 1


def test_looking_that_is_put_off_keeps_the_doubt(slack: FakeSlack) -> None:
    slack.moods.extend(["drop_after_accept", "rate_limited"])
    channel = channel_of(slack)
    channel.send(POST, uncertain=False)
    assert channel.send(POST, uncertain=True) == Unknown(
        "could not look for the earlier try: Slack asks to wait", 3.0
    )
    assert len(slack.messages) == 1


def test_retry_after_is_passed_on_and_not_slept(slack: FakeSlack) -> None:
    slack.moods.append("rate_limited")
    result = channel_of(slack).send(POST, uncertain=False)
    assert result == Retry("Slack asks to wait", 3.0, whole_channel=True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"channel": "C0NOBODY"}, "channel_not_found"),
        (
            {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
            "invalid_blocks",
        ),
        ({"blocks": POST.blocks * 51}, "no more than 50 items"),
        ({"root": f"{CHANNEL}:1.1"}, "thread_not_found"),
    ],
)
def test_an_answer_of_ok_false_is_a_refusal_with_its_reason(
    slack: FakeSlack, change: dict[str, object], word: str
) -> None:
    result = channel_of(slack).send(replace(POST, **change), uncertain=False)  # type: ignore[arg-type]
    assert isinstance(result, Refused)
    assert word in result.reason


def test_a_revoked_token_is_a_refusal_and_found_by_the_check(slack: FakeSlack) -> None:
    channel = channel_of(slack, "xoxb-revoked")
    assert channel.send(POST, uncertain=False) == Refused("Slack: invalid_auth")
    assert channel.check() == Refused("Slack: invalid_auth")
    assert channel_of(slack).check() == Sent("quansheng")


@pytest.mark.parametrize("mood", ["server_error", "not_json"])
def test_a_gateway_in_between_is_no_proof_of_failure(slack: FakeSlack, mood: str) -> None:
    slack.moods.append(mood)  # type: ignore[arg-type]
    assert isinstance(channel_of(slack).send(POST, uncertain=False), Unknown)


def test_a_server_that_is_not_there_means_certainly_not_sent() -> None:
    server = FakeSlack().start()
    server.stop()
    result = channel_of(server).send(POST, uncertain=False)
    assert isinstance(result, Retry)
    assert result.whole_channel


def test_an_edit_changes_the_root_and_adds_nothing(slack: FakeSlack) -> None:
    channel = channel_of(slack)
    root = channel.send(POST, uncertain=False)
    assert isinstance(root, Sent)
    edit = replace(POST, text="【已签收】", blocks=[], root=root.ref, edit=True)
    assert channel.send(edit, uncertain=False) == root
    assert channel.send(edit, uncertain=True) == root
    assert [message["text"] for message in slack.messages] == ["【已签收】"]


def test_the_page_of_the_fake_shows_text_harmlessly(slack: FakeSlack) -> None:
    slack.answer("chat.postMessage", {"channel": CHANNEL, "text": "<script>alert(1)</script>"}, TOKEN)
    assert "<script>alert" not in slack.page()
