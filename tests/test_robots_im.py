"""Chat robots: what they take, what they refuse inside HTTP 200, and what of a text is left when it is too long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts import feishu
from alerts.channel import Channel, Letter
from alerts.dingtalk import DingtalkRobot
from alerts.feishu import FeishuApp, FeishuRobot
from alerts.results import Refused, Retry, Sent, Unknown
from alerts.robots import Caller, fit
from alerts.webhook import Webhook
from alerts.wecom import WecomApp, WecomRobot
from demo.fakes.robots import AGENT, APP, APP_SECRET, CORP, CORP_SECRET, KEY, SECRET, FakeRobots

NOW = datetime(2026, 11, 24, 19, 10, tzinfo=UTC)
LINK = "https://desk.jinan.example/a/token"


@pytest.fixture
def robots() -> Iterator[FakeRobots]:
    with FakeRobots(clock=lambda: NOW.timestamp(), slow_s=1.0) as fake:
        yield fake


def build(fake: FakeRobots) -> dict[str, Channel]:
    """Every channel, pointed at the fake."""
    caller, url = Caller("test", 0.5), fake.base_url
    return {
        "wecom": WecomRobot({"duty": KEY}, url, caller),
        "wecom_app": WecomApp(CORP, CORP_SECRET, AGENT, url, caller),
        "dingtalk": DingtalkRobot({"duty": KEY}, {"duty": SECRET}, url, caller),
        "feishu": FeishuRobot({"duty": KEY}, {"duty": SECRET}, url, caller),
        "feishu_app": FeishuApp(APP, APP_SECRET, url, caller),
        "webhook": Webhook({"duty": f"{url}/hook/ops"}, SECRET, caller),
    }


NAMES = ("wecom", "wecom_app", "dingtalk", "feishu", "feishu_app", "webhook")


def letter(channel: str, text: str = "【较大·新事件】历下区 多名学生呕吐", **change: Any) -> Letter:
    """A page to whomever the channel knows."""
    values: dict[str, Any] = {
        "outbox_id": "7f9c0c1e-0000-5000-8000-000000000001",
        "kind": "page",
        "recipient": "lin" if channel.endswith("_app") else "duty",
        "message": {
            "text": f"{text}\n确认收到：{LINK}",
            "link": LINK,
            "number": "QS-2026-000017",
            "mention": "lin",
        },
        "attempt": 1,
        "created_at": NOW,
        "now": NOW,
    }
    return Letter(**(values | change))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_arrives_with_its_first_line_and_link(robots: FakeRobots, name: str) -> None:
    assert isinstance(build(robots)[name].send(letter(name)), Sent)
    (taken,) = robots.taken
    assert taken.service == name
    assert taken.text.startswith("【较大·新事件】")
    assert LINK in taken.text
    assert robots.refusals == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("drop_before", Unknown),
        ("drop_after_accept", Unknown),
        ("slow", Unknown),
        ("server_error", Unknown),
        ("unavailable", Retry),
        ("refuse", Refused),
        ("too_fast", Retry),
    ],
)
def test_each_bad_day_has_its_one_outcome(robots: FakeRobots, name: str, mood: Any, outcome: type) -> None:
    channel = build(robots)[name]
    robots.moods.append(mood)
    found = channel.send(letter(name))
    assert isinstance(found, outcome), found
    if mood == "unavailable":
        assert isinstance(found, Retry)
        assert (found.after_s, found.whole_channel) == (7.0, True)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_json_is_unknown_and_a_missing_server_is_a_retry(robots: FakeRobots, name: str) -> None:
    channel = build(robots)[name]
    for mood in ("not_json", "empty"):
        robots.moods.append(mood)
        found = channel.send(letter(name))
        # a webhook promises nothing about what it answers under 2xx
        assert isinstance(found, Sent if name == "webhook" else Unknown), found
    robots.stop()
    found = channel.send(letter(name))
    assert isinstance(found, Retry)
    assert found.whole_channel


def test_a_repeat_is_marked_where_the_provider_knows_no_key(robots: FakeRobots) -> None:
    table = build(robots)
    for name in ("wecom", "dingtalk", "feishu", "webhook"):
        assert isinstance(table[name].send(letter(name, uncertain=True, attempt=2)), Sent)
    assert [item.text.split("】")[0] for item in robots.taken] == ["【补发·QS-2026-000017·第2次"] * 4
    assert robots.taken[-1].body["repeat"] is True


@pytest.mark.parametrize("name", ["wecom_app", "feishu_app"])
def test_a_keyed_message_is_shown_once_however_often_it_is_sent(robots: FakeRobots, name: str) -> None:
    channel = build(robots)[name]
    robots.moods.append("drop_after_accept")
    assert isinstance(channel.send(letter(name)), Unknown)
    assert isinstance(channel.send(letter(name, attempt=2)), Sent)
    assert len(robots.taken) == 1


@pytest.mark.parametrize("name", ["wecom_app", "feishu_app"])
def test_a_token_that_ran_out_is_renewed_once(robots: FakeRobots, name: str) -> None:
    channel = build(robots)[name]
    assert isinstance(channel.send(letter(name)), Sent)
    robots.revoke_tokens()
    other = letter(name, "另一条", outbox_id="7f9c0c1e-0000-5000-8000-000000000002")
    assert isinstance(channel.send(other), Sent)
    assert len(robots.taken) == 2


def test_an_unknown_person_is_refused_though_the_code_is_zero(robots: FakeRobots) -> None:
    found = build(robots)["wecom_app"].send(letter("wecom_app", recipient="nobody"))
    assert isinstance(found, Refused)
    assert "nobody" in found.reason


def test_wrong_secrets_are_refused_with_what_to_check(robots: FakeRobots) -> None:
    caller = Caller("test", 0.5)
    wrong: list[tuple[Channel, str, str]] = [
        (WecomRobot({"duty": "wrong"}, robots.base_url, caller), "wecom", "93000"),
        (WecomApp(CORP, "wrong", AGENT, robots.base_url, caller), "wecom_app", "wecom.secret"),
        (DingtalkRobot({"duty": KEY}, {"duty": "wrong"}, robots.base_url, caller), "dingtalk", "310000"),
        (FeishuRobot({"duty": KEY}, {"duty": "wrong"}, robots.base_url, caller), "feishu", "19021"),
        (FeishuApp(APP, "wrong", robots.base_url, caller), "feishu_app", "feishu.app_secret"),
        (Webhook({"duty": f"{robots.base_url}/hook/ops"}, "wrong", caller), "webhook", "401"),
        (WecomRobot({}, robots.base_url, caller), "wecom", "no robot 'duty'"),
    ]
    for channel, name, words in wrong:
        found = channel.send(letter(name))
        assert isinstance(found, Refused), name
        assert words in found.reason
    assert robots.taken == []
    assert isinstance(wrong[1][0].check(), Refused)


@pytest.mark.parametrize("name", NAMES)
def test_an_endless_text_is_cut_to_what_the_service_takes(robots: FakeRobots, name: str) -> None:
    long = (
        "【特别重大·新事件】历下区 多名学生餐后呕吐，11月24日 08:10 前发布权威信息\n"
        + "说明文字，很长。\n" * 3000
    )
    message = {"text": f"{long}确认收到：{LINK}\n打开链接后按", "link": LINK}
    assert isinstance(build(robots)[name].send(letter(name, message=message)), Sent)
    text = robots.taken[0].text
    assert text.startswith("【特别重大·新事件】")
    assert LINK in text


def test_limits_are_those_of_the_services(robots: FakeRobots) -> None:
    """Who sends one message more than `limits` allows is refused by the faithful fake; who keeps to them is not."""
    for name, channel in build(robots).items():
        for number in range(channel.limits[0].messages):
            key = f"00000000-0000-5000-8000-{number:012d}"
            assert isinstance(channel.send(letter(name, f"第{number}条", outbox_id=key)), Sent), name
        if name != "webhook":  # ours: we keep to a limit that it does not know
            over = channel.send(letter(name, "多一条", outbox_id="00000000-0000-5000-8000-00000000ffff"))
            assert isinstance(over, Retry), name
    assert robots.refusals == [
        "wecom 45009",
        "wecom_app 45009",
        "dingtalk 130101",
        "feishu 11232",
        "feishu_app 230020",
    ]


def test_who_sends_dingtalk_too_fast_is_told_to_rest_for_ten_minutes() -> None:
    at = NOW.timestamp()
    with FakeRobots(clock=lambda: at) as robots:
        channel = build(robots)["dingtalk"]
        for number in range(21):
            found = channel.send(letter("dingtalk", f"第{number}条"))
        assert isinstance(found, Retry)
        assert found.after_s == 600.0
        at += 599
        now = NOW + timedelta(seconds=599)
        assert isinstance(channel.send(letter("dingtalk", now=now)), Retry), "deaf for ten minutes"
        at += 2
        assert isinstance(channel.send(letter("dingtalk", now=now)), Sent)


def test_a_post_cannot_call_everybody(robots: FakeRobots) -> None:
    hostile = '@all <at user_id="all">所有人</at> <@everyone> [点我](http://evil.example)'
    for name, channel in build(robots).items():
        assert isinstance(channel.send(letter(name, hostile)), Sent)
    for item in robots.taken:
        if item.service.startswith("feishu"):
            assert '<at user_id="all"' not in item.text
        assert item.body.get("at", {}).get("isAtAll") in (None, False)
        assert "@all" not in str(
            item.body.get("text", {}).get("mentioned_list") if item.service == "wecom" else ""
        )
    assert feishu.harmless("<at>") == "＜at＞"


@pytest.mark.parametrize("limit", [40, 60, 100, 2048])
def test_cutting_keeps_the_first_line_and_the_link(limit: int) -> None:
    text = "第一行：什么、哪里、多严重、何时前\n" + "中间\n" * 100 + "链接 http://x.example/a\n最后"
    cut = fit(text, limit, "http://x.example/a")
    assert len(cut.encode()) <= limit
    assert cut.startswith("第一行"[: 3 if limit >= 60 else 1])
    if limit >= 100:
        assert "http://x.example/a" in cut
    assert fit("短", 2048) == "短"
