"""Buttons below a Slack message: 确认收到, 属实, 误报. A press is one command through the life cycle, whoever delivers it.

The same handler serves Socket Mode and the HTTP endpoint. A press is keyed by user, time and button, so that a
delivery that Slack repeats acts once. A button of an earlier epoch answers kindly and changes nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock, SignatureVerifier

from alerts import facts, ladder, rota
from alerts.wording import Wording
from config.bundle import Bundle
from config.keys import Keys
from config.roster import Person
from config.tokens import AckClaim, BadToken, sign_ack, verify_ack
from incidents import lifecycle, queries
from incidents.session import Database
from incidents.states import FALSE_ALARM_REASONS, Acknowledge, Command, Confirm, FalseAlarm, Refused

ACK, CONFIRM, FALSE = "qs_ack", "qs_confirm", "qs_false"
#: the person in a button's token: it names nobody, so it opens no acknowledgement page
BUTTON = "@slack"
_REASONS = {
    "wrong_place": "不在本市",
    "not_now": "旧事重提，并非现在发生",
    "fiction_or_history": "小说、影视或历史内容",
    "advertisement": "广告或营销",
    "duplicate_topic": "与其他事件重复",
    "no_issue": "不构成问题",
    "other": "其他（请写明）",
}


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What the person who pressed sees: a line only they see, a form to fill in, or errors of that form."""

    ephemeral: str = ""
    channel: str = ""
    user: str = ""
    view: dict[str, Any] | None = None
    trigger_id: str = ""
    errors: dict[str, str] = field(default_factory=dict)


def interactive(bundle: Bundle) -> bool:
    """Whether presses of buttons can reach us."""
    slack = bundle.settings.slack
    return bool(slack.app_token.get_secret_value() or slack.signing_secret.get_secret_value())


def value(keys: Keys, bundle: Bundle, incident_id: int, epoch: int, step: int, now: datetime) -> str:
    """What a button carries: incident, epoch and rung, signed."""
    expires = now + timedelta(hours=bundle.settings.alerts.link_valid_h)
    return sign_ack(keys.links, AckClaim(incident_id, epoch, step, BUTTON, expires))


def buttons(say: Wording, token: str) -> list[dict[str, Any]]:
    """The three buttons of a page."""
    made = []
    for action, label, style in (
        (ACK, say("确认收到"), "primary"),
        (CONFIRM, say("属实"), ""),
        (FALSE, say("误报"), "danger"),
    ):
        button: dict[str, Any] = {
            "type": "button",
            "action_id": action,
            "text": {"type": "plain_text", "text": label},
            "value": token,
        }
        made.append(button | ({"style": style} if style else {}))
    return made


def verified(secret: str, body: bytes, timestamp: str, signature: str, now: datetime) -> bool:
    """Whether a request over HTTP comes from Slack and is not older than five minutes."""

    class _Now(Clock):
        def now(self) -> float:
            return now.timestamp()

    return (
        bool(secret)
        and timestamp.isdigit()
        and SignatureVerifier(secret, _Now()).is_valid(body, timestamp, signature)
    )


def handle(db: Database, bundle: Bundle, keys: Keys, payload: dict[str, Any], now: datetime) -> Reply:
    """Carry out one press or one filled-in form. Database trouble is raised: the delivery must not be confirmed then."""
    say = facts.wording_of(bundle)
    with db.reading() as session:
        bundle = rota.in_force(session, bundle, now)
    user = str((payload.get("user") or {}).get("id", ""))
    channel = str((payload.get("channel") or {}).get("id", ""))
    person = next((p for p in bundle.roster.people if p.slack_user and p.slack_user == user), None)
    if payload.get("type") == "view_submission":
        return _submitted(db, bundle, keys, payload, person, user, now)
    actions = payload.get("actions") or []
    if payload.get("type") != "block_actions" or not actions:
        return Reply()
    action = actions[0]
    name, token = str(action.get("action_id", "")), str(action.get("value", ""))
    if name not in (ACK, CONFIRM, FALSE):
        return Reply()  # a link to the desk: the browser does the rest
    if person is None:
        _note_refused(db, user, name, now)
        text = say(
            "您的 Slack 账号（{user}）未与值班人员关联，操作未执行；请在值班表 slack_user 中登记。", user=user
        )
        return Reply(text, channel, user)
    claim = _claim(keys, token, now)
    if isinstance(claim, str):
        return Reply(say(claim), channel, user)
    if name == FALSE:
        return Reply(view=_form(say, token), trigger_id=str(payload.get("trigger_id", "")), user=user)
    command: Command = Confirm() if name == CONFIRM else _acknowledge(bundle, person, claim, now)
    refused = _stale(db, claim, say) or _act(
        db, claim, command, person, f"slack:{user}:{action.get('action_ts', '')}:{name}", say, now
    )
    done = {ACK: say("已确认收到。"), CONFIRM: say("已研判属实。")}[name]
    return Reply(refused or done, channel, user)


def _claim(keys: Keys, token: str, now: datetime) -> AckClaim | str:
    try:
        claim = verify_ack(keys.links, token, now)
    except BadToken as bad:
        return "该按钮已过期，请到工作台处理。" if bad.reason == "expired" else "该按钮无效。"
    return claim if claim.person == BUTTON else "该按钮无效。"


def _acknowledge(bundle: Bundle, person: Person, claim: AckClaim, now: datetime) -> Acknowledge:
    on_duty = {ladder.on_duty(bundle, role, now).person_id for role in ("primary", "secondary", "leader")}
    return Acknowledge(epoch=claim.epoch, step=claim.step, on_behalf=person.id not in on_duty)


def _stale(db: Database, claim: AckClaim, say: Wording) -> str:
    """The kind answer to a button of an earlier epoch; "" when it is of the present one."""
    with db.reading() as session:
        incident = queries.get_incident(session, claim.incident_id)
        if incident is None:
            return say("没有这个事件。")
        if incident.epoch == claim.epoch:
            return ""
        moved = [event for event in queries.events_of(session, incident.id) if event.kind == "assigned"]
    if moved and incident.department:
        return say("该提醒已过期：{number} 已转办，请以最新消息为准。", number=incident.number)
    return say("该提醒已过期：{number} 已有更新，请以最新消息为准。", number=incident.number)


def _act(
    db: Database, claim: AckClaim, command: Command, person: Person, key: str, say: Wording, now: datetime
) -> str:
    """Carry out a command; the sentence of a refusal, "" when it was done (now or by an earlier delivery)."""
    try:
        lifecycle.handle_or_refuse(
            db,
            claim.incident_id,
            command,
            actor=person.id,
            channel="slack",
            now=now,
            idempotency_key=f"{claim.incident_id}:{key}"[:120],
        )
    except Refused as refusal:
        return refusal.en if say.english else refusal.zh
    return ""


def _note_refused(db: Database, user: str, action: str, now: datetime) -> None:
    with db.transaction() as session:
        lifecycle.record_act(
            session,
            "refused",
            {"command": action, "reason": "this Slack user is nobody of the roster", "slack_user": user},
            actor=f"slack:{user}"[:80],
            channel="slack",
            now=now,
        )


def _form(say: Wording, token: str) -> dict[str, Any]:
    """The form for a false alarm: a typed reason and a note."""
    options = [
        {"text": {"type": "plain_text", "text": say(_REASONS[code])[:75]}, "value": code}
        for code in FALSE_ALARM_REASONS
    ]
    return {
        "type": "modal",
        "callback_id": FALSE,
        "private_metadata": token,
        "title": {"type": "plain_text", "text": say("误报")},
        "submit": {"type": "plain_text", "text": say("判为误报")},
        "close": {"type": "plain_text", "text": say("取消")},
        "blocks": [
            {
                "type": "input",
                "block_id": "reason",
                "label": {"type": "plain_text", "text": say("误报原因")},
                "element": {"type": "static_select", "action_id": "reason", "options": options},
            },
            {
                "type": "input",
                "block_id": "note",
                "optional": True,
                "label": {"type": "plain_text", "text": say("备注")},
                "element": {
                    "type": "plain_text_input",
                    "action_id": "note",
                    "multiline": True,
                    "max_length": 500,
                },
            },
        ],
    }


def _submitted(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    payload: dict[str, Any],
    person: Person | None,
    user: str,
    now: datetime,
) -> Reply:
    """The filled-in form for a false alarm."""
    say = facts.wording_of(bundle)
    view = payload.get("view") or {}
    if view.get("callback_id") != FALSE:
        return Reply()
    if person is None:
        _note_refused(db, user, FALSE, now)
        return Reply(errors={"reason": say("您的 Slack 账号未与值班人员关联，操作未执行。")})
    claim = _claim(keys, str(view.get("private_metadata", "")), now)
    if isinstance(claim, str):
        return Reply(errors={"reason": say(claim)})
    values = (view.get("state") or {}).get("values") or {}
    chosen = ((values.get("reason") or {}).get("reason") or {}).get("selected_option") or {}
    note = str(((values.get("note") or {}).get("note") or {}).get("value") or "")
    command = FalseAlarm(str(chosen.get("value", "")), note)
    refused = _stale(db, claim, say) or _act(
        db, claim, command, person, f"slack:{user}:{view.get('id', '')}:{FALSE}", say, now
    )
    return Reply(errors={"reason": refused}) if refused else Reply()


def answer(bundle: Bundle, reply: Reply) -> None:
    """Show the person what came of it: a form, or a line that only they see. The command stands whether it arrives or not."""
    if reply.view is None and not (reply.ephemeral and reply.channel):
        return
    slack = bundle.settings.slack
    base = slack.base_url if slack.base_url.endswith("/") else f"{slack.base_url}/"
    web = WebClient(
        token=slack.token.get_secret_value(), base_url=base, timeout=5, retry_handlers=[], logger=_log
    )
    try:
        if reply.view is not None:
            web.views_open(trigger_id=reply.trigger_id, view=reply.view)
        else:
            web.chat_postEphemeral(channel=reply.channel, user=reply.user, text=reply.ephemeral)
    except (SlackApiError, OSError) as error:
        _log.warning("the answer to a press in Slack cannot be shown: %s", error)


def submission_answer(reply: Reply) -> dict[str, Any] | None:
    """What is answered to a filled-in form: errors beside its fields, or nothing."""
    return {"response_action": "errors", "errors": reply.errors} if reply.errors else None


def parse(raw: str) -> dict[str, Any]:
    """The payload of an HTTP delivery. Raises ValueError when it is none."""
    payload = json.loads(raw)
    if not isinstance(payload, dict):
        raise ValueError("not an object")
    return payload
