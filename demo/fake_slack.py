"""A Slack on this machine: enough of the Web API to send to, with its refusals and its bad days.

The demo shows its messages on a page; tests switch its moods. It knows auth.test, chat.postMessage,
chat.update, conversations.history and conversations.replies, with threads, metadata, client_msg_id,
429 with Retry-After, and answers that get lost after the message was accepted.

Start it alone with `python -m demo.fake_slack --port 8601`; the page of messages is then at `/`.
"""

from __future__ import annotations

import argparse
import html
import json
import logging
import re
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

APP_TOKEN = "xapp-demo-not-secret"  # noqa: S105 (a token of nobody, accepted by this server only)
TOKEN = "xoxb-demo-not-secret"  # noqa: S105 (a token of nobody, accepted by this server only)
CHANNEL = "C0QUANSHENG"
#: what goes wrong with the next call
Mood = Literal["rate_limited", "server_error", "drop_before", "drop_after_accept", "not_json"]
_HISTORY_LIMIT = 100
_quiet = logging.getLogger("demo.fake_slack.socket")
_quiet.setLevel(logging.CRITICAL)


class FakeSocket:
    """The far end of Socket Mode: gives envelopes to whoever is connected and waits for each to be confirmed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: Any = None
        self._connections: list[ServerConnection] = []
        self._answers: dict[str, Queue[dict[str, Any]]] = {}
        self._serial = 0
        self.took_s: list[float] = []

    def start(self) -> str:
        """The address for one connection."""
        with self._lock:
            if self._server is None:
                self._server = serve(self._connected, "127.0.0.1", 0, logger=_quiet)
                threading.Thread(target=self._server.serve_forever, daemon=True, name="fake-socket").start()
            port = self._server.socket.getsockname()[1]
        return f"ws://127.0.0.1:{port}/?ticket=demo"

    def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    @property
    def connected(self) -> bool:
        """Whether anybody listens."""
        return bool(self._connections)

    def drop(self) -> None:
        """Break every connection, as Slack does every few hours."""
        for connection in list(self._connections):
            connection.close()

    def _connected(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        try:
            connection.send(json.dumps({"type": "hello", "num_connections": len(self._connections)}))
            for raw in connection:
                answer = json.loads(raw)
                waiting = self._answers.get(str(answer.get("envelope_id")))
                if waiting is not None:
                    waiting.put(answer)
        except ConnectionClosed:
            pass
        finally:
            self._connections.remove(connection)

    def deliver(self, payload: dict[str, Any], *, patience_s: float = 3.0) -> dict[str, Any] | None:
        """Give one envelope away; its answer, or None when nobody confirmed it in time."""
        with self._lock:
            self._serial += 1
            key = f"envelope-{self._serial}"
        self._answers[key] = Queue()
        if not self._connections:
            return None
        begun = time.monotonic()
        envelope = {
            "envelope_id": key,
            "type": "interactive",
            "accepts_response_payload": True,
            "payload": payload,
        }
        self._connections[-1].send(json.dumps(envelope))
        try:
            answer = self._answers[key].get(timeout=patience_s)
        except Empty:
            return None
        finally:
            self.took_s.append(time.monotonic() - begun)
        return dict(answer.get("payload") or {})


@dataclass
class FakeSlack:
    """State of the workspace and the server in front of it. Use as a context manager or call start() and stop()."""

    token: str = TOKEN
    channels: set[str] = field(default_factory=lambda: {CHANNEL})
    host: str = "127.0.0.1"
    port: int = 0
    retry_after_s: int = 3
    #: moods of the next calls, one each; then all is well again
    moods: deque[Mood] = field(default_factory=deque)
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    edits: int = 0
    #: client_msg_id refused or dropped when repeated; Slack does not promise this, so it can be switched off
    knows_client_msg_id: bool = False

    app_token: str = APP_TOKEN
    #: lines that only one person saw: (user, text)
    ephemeral: list[tuple[str, str]] = field(default_factory=list)
    #: forms that were opened, by trigger
    forms: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.socket = FakeSocket()
        self._lock = threading.Lock()
        self._serial = 0
        self._server: ThreadingHTTPServer | None = None

    # --- server ------------------------------------------------------------------------------------------

    def start(self) -> FakeSlack:
        """Serve from a thread of its own; `port` 0 takes a free one."""
        slack = self

        class Handler(_Handler):
            workspace = slack

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.05,), daemon=True, name="fake-slack").start()
        return self

    def stop(self) -> None:
        """Close the port; messages stay readable."""
        self.socket.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> FakeSlack:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What stands in settings.slack.base_url."""
        return f"http://{self.host}:{self.port}/api/"

    # --- methods of the API ------------------------------------------------------------------------------

    def answer(self, method: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
        """The JSON body of one call."""
        with self._lock:
            if method == "apps.connections.open":
                if token != self.app_token:
                    return _refuse("invalid_auth")
                return {"ok": True, "url": self.socket.start()}
            if token != self.token:
                return _refuse("invalid_auth")
            known = {
                "auth.test": self._auth_test,
                "chat.postMessage": self._post,
                "chat.update": self._update,
                "conversations.history": self._history,
                "conversations.replies": self._replies,
                "chat.postEphemeral": self._ephemeral,
                "views.open": self._open_view,
            }.get(method)
            return known(arguments) if known else _refuse("unknown_method")

    def _auth_test(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "team": "泉城", "user": "quansheng", "user_id": "U0BOT", "bot_id": "B0BOT"}

    def _ephemeral(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in self.channels:
            return _refuse("channel_not_found")
        self.ephemeral.append((str(arguments.get("user")), str(arguments.get("text"))))
        return {"ok": True, "message_ts": "1"}

    def _open_view(self, arguments: dict[str, Any]) -> dict[str, Any]:
        view = arguments.get("view")
        view = json.loads(view) if isinstance(view, str) else view
        if not arguments.get("trigger_id"):
            return _refuse("invalid_trigger")
        if not isinstance(view, dict) or len(view.get("title", {}).get("text", "")) > 24:
            return _refuse("invalid_arguments")
        self.forms[str(arguments["trigger_id"])] = view
        return {"ok": True, "view": view}

    def press(
        self, message: dict[str, Any], action_id: str, user: str, *, stamp: str = ""
    ) -> dict[str, Any] | None:
        """A person presses a button: the envelope's answer, None when it was not confirmed within three seconds."""
        found = [
            element
            for block in message["blocks"]
            for element in block.get("elements") or []
            if element.get("action_id") == action_id
        ]
        if not found:
            raise LookupError(f"the message has no button {action_id}")
        self._serial += 1
        return self.socket.deliver(
            {
                "type": "block_actions",
                "user": {"id": user},
                "channel": {"id": message["channel"]},
                "trigger_id": f"trigger-{self._serial}",
                "message": {"ts": message["ts"]},
                "actions": [
                    {
                        "action_id": action_id,
                        "value": found[0].get("value", ""),
                        "action_ts": stamp or f"{self._serial}.000001",
                    }
                ],
            }
        )

    def submit(self, view: dict[str, Any], user: str, values: dict[str, Any]) -> dict[str, Any] | None:
        """A person sends a filled-in form: the envelope's answer."""
        self._serial += 1
        return self.socket.deliver(
            {
                "type": "view_submission",
                "user": {"id": user},
                "view": {**view, "id": f"V{self._serial}", "state": {"values": values}},
            }
        )

    def _checked(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        if arguments.get("channel") not in self.channels:
            return _refuse("channel_not_found")
        blocks = arguments.get("blocks") or []
        if not arguments.get("text") and not blocks:
            return _refuse("no_text")
        if len(arguments.get("text", "")) > 40_000:
            return _refuse("msg_too_long")
        problem = _block_problem(blocks)
        return _refuse("invalid_blocks", response_metadata={"messages": [problem]}) if problem else None

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wrong = self._checked(arguments)
        if wrong:
            return wrong
        thread = arguments.get("thread_ts")
        if thread and not any(item["ts"] == thread for item in self.messages):
            return _refuse("thread_not_found")
        key = arguments.get("client_msg_id")
        if key and self.knows_client_msg_id and any(m.get("client_msg_id") == key for m in self.messages):
            return _refuse("duplicate_client_msg_id")
        self._serial += 1
        message = {
            "type": "message",
            "ts": f"{1_700_000_000 + self._serial}.{self._serial:06d}",
            "channel": arguments["channel"],
            "text": arguments.get("text", ""),
            "blocks": arguments.get("blocks") or [],
            "bot_id": "B0BOT",
        }
        for optional in ("thread_ts", "metadata", "client_msg_id", "reply_broadcast"):
            if arguments.get(optional):
                message[optional] = arguments[optional]
        self.messages.append(message)
        return {"ok": True, "channel": message["channel"], "ts": message["ts"], "message": message}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wrong = self._checked(arguments)
        if wrong:
            return wrong
        for message in self.messages:
            if message["ts"] == arguments.get("ts") and message["channel"] == arguments["channel"]:
                message.update(text=arguments.get("text", ""), blocks=arguments.get("blocks") or [])
                message["edited"] = True
                self.edits += 1
                return {
                    "ok": True,
                    "channel": message["channel"],
                    "ts": message["ts"],
                    "text": message["text"],
                }
        return _refuse("message_not_found")

    def _history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in self.channels:
            return _refuse("channel_not_found")
        found = [
            item
            for item in self.messages
            if item["channel"] == arguments["channel"]
            and ("thread_ts" not in item or item.get("reply_broadcast"))
        ]
        return self._page(found[::-1], arguments)

    def _replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        root = arguments.get("ts")
        found = [
            item
            for item in self.messages
            if item["channel"] == arguments.get("channel") and root in (item["ts"], item.get("thread_ts"))
        ]
        return self._page(found, arguments) if found else _refuse("thread_not_found")

    @staticmethod
    def _page(found: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        start = int(arguments.get("cursor") or 0)
        limit = min(int(arguments.get("limit") or _HISTORY_LIMIT), 999)
        with_metadata = str(arguments.get("include_all_metadata", "")).lower() in ("1", "true")
        shown = [
            {key: value for key, value in item.items() if key != "metadata" or with_metadata}
            for item in found[start : start + limit]
        ]
        more = start + limit < len(found)
        return {
            "ok": True,
            "messages": shown,
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + limit) if more else ""},
        }

    # --- what a person sees ------------------------------------------------------------------------------

    def page(self) -> str:
        """All messages as a small page, threads indented."""
        with self._lock:
            roots = [item for item in self.messages if "thread_ts" not in item]
            parts = []
            for root in roots[::-1]:
                replies = [item for item in self.messages if item.get("thread_ts") == root["ts"]]
                parts += [_show(root, "root"), *(_show(item, "reply") for item in replies)]
        return _PAGE.format(body="\n".join(parts) or "<p>还没有消息。</p>")


def _refuse(error: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": error, **more}


def _block_problem(blocks: list[dict[str, Any]]) -> str:
    """What Slack would say against these blocks, or nothing."""
    if len(blocks) > 50:
        return "no more than 50 items allowed [json-pointer:/blocks]"
    for number, block in enumerate(blocks):
        kind = block.get("type")
        if kind not in ("header", "section", "context", "actions", "divider", "image"):
            return f"unsupported type: {kind} [json-pointer:/blocks/{number}/type]"
        text = (block.get("text") or {}).get("text", "")
        if kind == "header" and not 0 < len(text) <= 150:
            return f"must be 1 to 150 characters [json-pointer:/blocks/{number}/text/text]"
        if kind == "section" and text and len(text) > 3000:
            return f"must be no more than 3000 characters [json-pointer:/blocks/{number}/text/text]"
        if kind == "section" and not text and not block.get("fields"):
            return f"text or fields needed [json-pointer:/blocks/{number}]"
        if len(block.get("fields") or []) > 10:
            return f"no more than 10 items allowed [json-pointer:/blocks/{number}/fields]"
        for element in block.get("elements") or []:
            if element.get("type") == "button" and len(element["text"]["text"]) > 75:
                return f"must be no more than 75 characters [json-pointer:/blocks/{number}/elements]"
            if len(element.get("url", "")) > 3000 or len(element.get("value", "")) > 2000:
                return f"too long [json-pointer:/blocks/{number}/elements]"
    return ""


def _show(message: dict[str, Any], kind: str) -> str:
    lines = [html.escape(message["text"])] if not message["blocks"] else []
    for block in message["blocks"]:
        lines += [_text(part) for part in [block.get("text"), *(block.get("fields") or [])] if part]
        for element in block.get("elements") or []:
            if element.get("type") == "button":
                label = html.escape(element["text"]["text"])
                lines.append(f'<a class="button" href="{html.escape(element.get("url", "#"))}">{label}</a>')
            else:
                lines.append(_text(element))
    return f'<div class="{kind}">' + "<br>".join(lines) + "</div>"


def _text(part: dict[str, Any]) -> str:
    """Slack's own small mark-up as HTML."""
    shown = html.escape(part.get("text", ""), quote=False)
    shown = re.sub(r"&lt;(https?://[^|&]+)\|([^&]+)&gt;", r'<a href="\1">\2</a>', shown)
    return re.sub(r"\*([^*\n]+)\*", r"<b>\1</b>", shown).replace("\n", "<br>")


_PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8"><title>假 Slack</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="3">
<style>body{{font:15px/1.6 sans-serif;max-width:46em;margin:1em auto;padding:0 1em;color:#1d1c1d}}
div{{border-left:4px solid #b3261e;padding:.4em .8em;margin:.6em 0;background:#f8f8f8}}
.reply{{margin-left:2em;border-color:#888}} .button{{display:inline-block;padding:.2em .8em;border:1px solid #777;
border-radius:4px;text-decoration:none}}</style><h1>假 Slack（演示用）</h1>{body}</html>"""


class _Handler(BaseHTTPRequestHandler):
    workspace: FakeSlack
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the caller looks at `calls`."""

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self._call(parse_qs(urlsplit(self.path).query))
        else:
            self._reply(200, self.workspace.page().encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if "json" in (self.headers.get("Content-Type") or ""):
            self._call(json.loads(raw or "{}"))
        else:
            self._call(parse_qs(raw))

    def _call(self, given: dict[str, Any]) -> None:
        arguments = {
            key: value[0] if isinstance(value, list) and _form(value) else value
            for key, value in given.items()
        }
        for key in ("blocks", "metadata", "attachments"):
            if isinstance(arguments.get(key), str):
                arguments[key] = json.loads(arguments[key])
        method = urlsplit(self.path).path.removeprefix("/api/")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or str(
            arguments.pop("token", "")
        )
        self.workspace.calls.append((method, arguments))
        moods = self.workspace.moods
        mood = moods.popleft() if moods and method != "auth.test" else None
        if mood == "rate_limited":
            wait = {"Retry-After": str(self.workspace.retry_after_s)}
            self._reply(429, json.dumps(_refuse("ratelimited")).encode(), "application/json", wait)
        elif mood == "server_error":
            self._reply(503, b"upstream connect error", "text/plain")
        elif mood == "not_json":
            self._reply(200, b"<html>proxy login</html>", "text/html")
        elif mood == "drop_before":
            self.close_connection = True
        elif mood == "drop_after_accept":
            self.workspace.answer(method, arguments, token)
            self.close_connection = True
        else:
            body = json.dumps(self.workspace.answer(method, arguments, token), ensure_ascii=False)
            self._reply(200, body.encode(), "application/json; charset=utf-8")

    def _reply(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _form(value: list[Any]) -> bool:
    """A form gives every field as a list of strings; JSON gives blocks as a list of objects."""
    return len(value) == 1 and isinstance(value[0], str)


def main(arguments: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A fake Slack on this machine.")
    parser.add_argument("--port", type=int, default=8601)
    slack = FakeSlack(port=parser.parse_args(arguments).port).start()
    sys.stdout.write(
        f"fake Slack: {slack.base_url} (token {TOKEN}, channel {CHANNEL}); messages: http://{slack.host}:{slack.port}/\n"
    )
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        slack.stop()


if __name__ == "__main__":
    main()
