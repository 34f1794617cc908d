"""The last cry: by every channel at once, once an hour of each kind, even when disk or channel hang."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from alerts import last_resort, watch
from config.bundle import Bundle
from demo.fake_slack import FakeSlack
from tests.alert_office import T0, bundle_for
from tests.fakes.mail import FakeMailServer


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    told: list[list[str]] = []
    monkeypatch.setattr(watch, "ping", lambda bundle, reasons: told.append(list(reasons)))
    return told


@pytest.fixture
def bundle(tmp_path: Path, slack: FakeSlack, mail: FakeMailServer) -> Bundle:
    return bundle_for(tmp_path, slack=slack.base_url, mail_port=mail.port, send_timeout_s=2)


def test_a_kind_is_told_once_an_hour_and_another_kind_is_not_silenced_by_it(
    bundle: Bundle, slack: FakeSlack, mail: FakeMailServer, pings: list[list[str]]
) -> None:
    last_resort.prepare(bundle, ["tick", "send:email"])
    assert sorted(last_resort.cry(bundle, "时钟停了", T0, kind="tick")) == ["email", "slack"]
    assert last_resort.cry(bundle, "时钟停了", T0 + timedelta(minutes=59), kind="tick") == []
    other = last_resort.cry(bundle, "邮件停了", T0 + timedelta(minutes=1), ["email"], kind="send:email")
    assert other == ["slack"]
    assert sorted(last_resort.cry(bundle, "时钟停了", T0 + timedelta(minutes=61), kind="tick")) == [
        "email",
        "slack",
    ]
    assert [str(message["Subject"]) for message in mail.received] == ["【系统故障】时钟停了"] * 2
    assert mail.recipients == ["lin@jinan.example"] * 2
    assert len(slack.messages) == 3
    assert pings == [["时钟停了"], ["时钟停了"], ["邮件停了"], ["时钟停了"]], "outside is told every time"


def test_a_disk_that_does_not_answer_is_not_waited_for(
    bundle: Bundle, mail: FakeMailServer, pings: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    last_resort.prepare(bundle, ["tick"])
    hung = threading.Event()
    monkeypatch.setattr(last_resort, "_DISK_PATIENCE_S", 0.1)
    monkeypatch.setattr(os, "utime", lambda *args: hung.wait(30))
    begun = time.monotonic()
    assert sorted(last_resort.cry(bundle, "磁盘不响应", T0, kind="tick")) == ["email", "slack"]
    assert time.monotonic() - begun < 10
    hung.set()
    assert len(mail.received) == 1


def test_a_channel_that_hangs_or_breaks_keeps_the_others_from_nothing(
    bundle: Bundle,
    slack: FakeSlack,
    mail: FakeMailServer,
    pings: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last_resort.prepare(bundle, [])
    hung = threading.Event()
    monkeypatch.setattr(last_resort, "_PATIENCE_S", 1.0)
    monkeypatch.setattr("alerts.channels.Email.send", lambda self, letter: hung.wait(30))
    begun = time.monotonic()
    assert last_resort.cry(bundle, "数据库打不开", T0) == ["slack"]
    assert time.monotonic() - begun < 5
    hung.set()
    slack.token = "revoked"
    monkeypatch.setattr("alerts.channels.Email.send", lambda self, letter: 1 / 0)
    assert last_resort.cry(bundle, "数据库打不开", T0 + timedelta(hours=2)) == []
    assert len(pings) == 2
