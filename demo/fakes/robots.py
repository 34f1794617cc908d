"""WeCom, DingTalk, Feishu and a webhook on this machine: they refuse what the real ones refuse, and remember what they took.

One server answers under the addresses of all four. Refusals come as the real services send them: HTTP 200 with a code in
the body. Limits count in the time of `clock`, so that a day can be simulated.
"""

from __future__ import annotations

import argparse
import html
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from alerts import dingtalk, feishu, webhook

#: what goes wrong with the next call
Mood = Literal[
    "drop_before",  # the connection breaks before anything was read
    "drop_after_accept",  # taken, then the connection breaks
    "slow",  # taken, the answer comes too late
    "server_error",  # HTTP 500
    "unavailable",  # HTTP 503 with Retry-After
    "not_json",  # a proxy's page
    "refuse",  # a refusal for good, in the body
    "too_fast",  # the service's own word for too many messages
    "empty",  # HTTP 200 and nothing
]
KEY, SECRET = "demo-robot-not-secret", "demo-signing-not-secret"  # (accepted by this server only)
CORP, CORP_SECRET, AGENT = "ww-demo", "demo-corp-not-secret", 1000002
APP, APP_SECRET = "cli_demo", "demo-app-not-secret"


@dataclass(frozen=True)
class Taken:
    """One message that was accepted and would be shown to people."""

    service: str  # wecom, wecom_app, dingtalk, feishu, feishu_app, webhook
    recipient: str
    text: str
    body: dict[str, Any]
    at: float


@dataclass
class FakeRobots:
    """State of the services and the server in front of them. Use as a context manager or call start() and stop()."""

    host: str = "127.0.0.1"
    port: int = 0
    clock: Callable[[], float] = time.time
    slow_s: float = 5.0
    users: set[str] = field(default_factory=lambda: {"lin", "he", "zhou"})
    taken: list[Taken] = field(default_factory=list)
    calls: int = 0
    refusals: list[str] = field(default_factory=list)
    moods: deque[Mood] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None
        self._windows: dict[str, deque[float]] = {}
        self._deaf_until: dict[str, float] = {}
        self._tokens: dict[str, float] = {}
        self._seen: dict[tuple[str, str, str], float] = {}

    def start(self) -> FakeRobots:
        """Serve from a thread of its own; `port` 0 takes a free one."""
        robots = self

        class Handler(_Handler):
            world = robots

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="fake-robots"
        ).start()
        return self

    def stop(self) -> None:
        """Close the port; what was taken stays readable."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> FakeRobots:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What stands in the settings as base_url; the webhook's address is this with /hook/ops."""
        return f"http://{self.host}:{self.port}"

    # --- what the services share -------------------------------------------------------------------------------

    def too_fast(self, robot: str, limit: int, seconds: float, deaf: float = 0.0) -> bool:
        """Count one message of a robot; True when it was one too many in its window."""
        now = self.clock()
        if self._deaf_until.get(robot, 0.0) > now:
            return True
        window = self._windows.setdefault(f"{robot}/{seconds}", deque())
        while window and window[0] <= now - seconds:
            window.popleft()
        window.append(now)
        if len(window) > limit:
            if deaf:
                self._deaf_until[robot] = now + deaf
            return True
        return False

    def reset(self) -> None:
        """Forget everything, as on the first day."""
        for memory in (self.taken, self.refusals, self.moods, self._windows, self._deaf_until, self._seen):
            memory.clear()

    def take(self, service: str, recipient: str, text: str, body: dict[str, Any]) -> None:
        """Show a message to people."""
        self.taken.append(Taken(service, recipient, text, body, self.clock()))

    def known(self, service: str, recipient: str, key: str, seconds: float) -> bool:
        """Whether this key was used for this recipient within the service's memory; it is remembered anew."""
        now = self.clock()
        last = self._seen.get((service, recipient, key))
        if last is not None and now - last < seconds:
            return True
        self._seen[service, recipient, key] = now
        return False

    def give_token(self, life: float) -> str:
        """A token that works for so many seconds."""
        token = f"token-{len(self._tokens) + 1}"
        self._tokens[token] = self.clock() + life
        return token

    def token_works(self, token: str) -> bool:
        """Whether it was given and has not run out."""
        return self._tokens.get(token, 0.0) > self.clock()

    def revoke_tokens(self) -> None:
        """Every token given so far is worth nothing any more."""
        self._tokens.clear()

    # --- the services ------------------------------------------------------------------------------------------

    def answer(
        self, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any
    ) -> tuple[int, Any]:
        """Status and body of one call."""
        with self._lock:
            self.calls += 1
            body = _json(raw)
            if path == "/cgi-bin/webhook/send":
                return 200, self._wecom_robot(query, body)
            if path == "/cgi-bin/gettoken":
                good = query.get("corpid") == CORP and query.get("corpsecret") == CORP_SECRET
                if not good:
                    return 200, self._no("wecom_app", 40001, "invalid credential")
                return 200, {
                    "errcode": 0,
                    "errmsg": "ok",
                    "access_token": self.give_token(7200),
                    "expires_in": 7200,
                }
            if path == "/cgi-bin/message/send":
                return 200, self._wecom_app(query, body)
            if path == "/robot/send":
                return 200, self._dingtalk(query, body)
            if path.startswith("/open-apis/bot/v2/hook/"):
                return 200, self._feishu_robot(path.rpartition("/")[2], body, raw)
            if path == "/open-apis/auth/v3/tenant_access_token/internal":
                if (body or {}).get("app_id") != APP or (body or {}).get("app_secret") != APP_SECRET:
                    return 200, {"code": 10014, "msg": "app secret invalid"}
                return 200, {
                    "code": 0,
                    "msg": "ok",
                    "tenant_access_token": self.give_token(7200),
                    "expire": 7200,
                }
            if path == "/open-apis/im/v1/messages":
                return self._feishu_app(body, headers)
            if path.startswith("/hook/"):
                return self._hook(path.rpartition("/")[2], body, raw, headers)
            return 404, {"error": "no such address"}

    def refuse_for_good(self, path: str) -> tuple[int, Any]:
        """The refusal that the service of this address gives to a message that it will never take."""
        if path.startswith("/cgi-bin/"):
            return 200, self._no("wecom", 93000, "invalid webhook url")
        if path == "/robot/send":
            return 200, self._no("dingtalk", 310000, "keywords not in content")
        if path.startswith("/open-apis/"):
            return 200, self._code("feishu", 19021, "sign match fail or timestamp is not within one hour")
        return 410, {"error": "gone"}

    def too_many(self, path: str) -> tuple[int, Any]:
        """The service's own word for too many messages."""
        if path.startswith("/cgi-bin/"):
            return 200, self._no("wecom", 45009, "api freq out of limit")
        if path == "/robot/send":
            return 200, self._no("dingtalk", 130101, "send too fast, exceed 20 times per minute")
        if path.startswith("/open-apis/"):
            return 200, self._code("feishu", 9499, "too many request")
        return 429, {"error": "slow down"}

    def _no(self, service: str, code: int, words: str) -> dict[str, Any]:
        self.refusals.append(f"{service} {code}")
        return {"errcode": code, "errmsg": words}

    def _code(self, service: str, code: int, words: str) -> dict[str, Any]:
        self.refusals.append(f"{service} {code}")
        return {"code": code, "msg": words, "data": {}}

    def _text(self, body: dict[str, Any] | None, name: str) -> str | None:
        part = (body or {}).get(name)
        content = part.get("content") if isinstance(part, dict) else None
        return content if isinstance(content, str) and content else None

    def _wecom_robot(self, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
        if query.get("key") != KEY:
            return self._no("wecom", 93000, "invalid webhook url")
        if body is None:
            return self._no("wecom", 47001, "data format error")
        text = self._text(body, "text")
        if body.get("msgtype") != "text" or text is None:
            return self._no("wecom", 40008, "invalid message type")
        if len(text.encode()) > 2048:
            return self._no("wecom", 40058, "text.content exceed max length 2048")
        if self.too_fast("wecom", 20, 60):
            return self._no("wecom", 45009, "api freq out of limit")
        self.take("wecom", query["key"], text, body)
        return {"errcode": 0, "errmsg": "ok"}

    def _wecom_app(self, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
        if not self.token_works(query.get("access_token", "")):
            return self._no("wecom_app", 42001, "access_token expired")
        text = self._text(body, "text")
        if body is None or text is None or body.get("agentid") != AGENT:
            return self._no("wecom_app", 40056, "invalid agentid")
        if len(text.encode()) > 2048:
            return self._no("wecom_app", 40058, "text.content exceed max length 2048")
        user = str(body.get("touser", ""))
        if user not in self.users:
            self.refusals.append("wecom_app invaliduser")
            return {"errcode": 0, "errmsg": "ok", "invaliduser": user, "msgid": "m0"}
        if self.too_fast(f"wecom_app:{user}", 30, 60):
            return self._no("wecom_app", 45009, "api freq out of limit")
        interval = float(body.get("duplicate_check_interval", 1800))
        again = body.get("enable_duplicate_check") == 1 and self.known("wecom_app", user, text, interval)
        if not again:
            self.take("wecom_app", user, text, body)
        return {"errcode": 0, "errmsg": "ok", "msgid": f"m{len(self.taken)}"}

    def _dingtalk(self, query: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
        if query.get("access_token") != KEY:
            return self._no("dingtalk", 300005, "token is not exist")
        stamp = query.get("timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) / 1000 - self.clock()) > 3600:
            return self._no("dingtalk", 310000, "invalid timestamp")
        if query.get("sign") != dingtalk.signature(SECRET, int(stamp)):
            return self._no("dingtalk", 310000, "sign not match")
        text = self._text(body, "text")
        if body is None or body.get("msgtype") != "text" or text is None:
            return self._no("dingtalk", 40035, "缺少参数 json")
        if len(text.encode()) > 20_000:
            return self._no("dingtalk", 40035, "content too long")
        if self.too_fast("dingtalk", 20, 60, deaf=600):
            return self._no("dingtalk", 130101, "send too fast, exceed 20 times per minute")
        self.take("dingtalk", KEY, text, body)
        return {"errcode": 0, "errmsg": "ok"}

    def _feishu_robot(self, hook: str, body: dict[str, Any] | None, raw: bytes) -> dict[str, Any]:
        if hook != KEY:
            return self._code("feishu", 19001, "param invalid: incoming webhook access token invalid")
        if body is None or len(raw) > 20 * 1024:
            return (
                self._code("feishu", 9499, "Bad Request")
                if body is None
                else self._code("feishu", 11246, "too big")
            )
        stamp = str(body.get("timestamp", ""))
        fresh = stamp.isdigit() and abs(int(stamp) - self.clock()) <= 3600
        if not fresh or body.get("sign") != feishu.signature(SECRET, int(stamp)):
            return self._code(
                "feishu", 19021, "sign match fail or timestamp is not within one hour from current time"
            )
        content = body.get("content")
        text = content.get("text") if isinstance(content, dict) else None
        if body.get("msg_type") != "text" or not isinstance(text, str) or not text:
            return self._code("feishu", 9499, "Bad Request")
        if self.too_fast("feishu", 5, 1) or self.too_fast("feishu", 100, 60):
            return self._code("feishu", 11232, "frequency limited psm")
        self.take("feishu", hook, text, body)
        return {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}

    def _feishu_app(self, body: dict[str, Any] | None, headers: Any) -> tuple[int, dict[str, Any]]:
        token = str(headers.get("Authorization", "")).removeprefix("Bearer ")
        if not self.token_works(token):
            return 200, self._code("feishu_app", 99991663, "token invalid")
        try:
            text = json.loads((body or {}).get("content", ""))["text"]
        except (ValueError, KeyError, TypeError):
            return 200, self._code("feishu_app", 230001, "invalid content")
        user = str((body or {}).get("receive_id", ""))
        if user not in self.users:
            return 200, self._code("feishu_app", 230001, "invalid receive_id")
        if self.too_fast(f"feishu_app:{user}", 5, 1):
            return 200, self._code("feishu_app", 230020, "frequency limited")
        if not self.known("feishu_app", user, str((body or {}).get("uuid", "")), 3600):
            self.take("feishu_app", user, text, body or {})
        return 200, {"code": 0, "msg": "success", "data": {"message_id": f"om_{len(self.taken)}"}}

    def _hook(self, name: str, body: dict[str, Any] | None, raw: bytes, headers: Any) -> tuple[int, Any]:
        stamp = str(headers.get("X-Quansheng-Timestamp", ""))
        good = stamp.isdigit() and headers.get("X-Quansheng-Signature") == webhook.signature(
            SECRET, int(stamp), raw
        )
        if not good or abs(int(stamp) - self.clock()) > 300:
            self.refusals.append("webhook 401")
            return 401, {"error": "signature"}
        if name != "ops" or body is None:
            self.refusals.append("webhook 410")
            return 410, {"error": "gone"}
        self.take("webhook", name, str(body.get("text", "")), body)
        return 204, None


def _json(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


class _Handler(BaseHTTPRequestHandler):
    world: FakeRobots
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._call("POST", raw)

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/":
            self._say(200, _page(self.world).encode(), "text/html; charset=utf-8")
            return
        self._call("GET", b"")

    def _call(self, method: str, raw: bytes) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        sends = "token" not in parts.path
        mood = self.world.moods.popleft() if sends and self.world.moods else None
        if mood == "drop_before":
            self.connection.close()
            self.close_connection = True
            return
        early = {
            "server_error": (500, b"<html>oops</html>"),
            "not_json": (200, b"<html>welcome to the hotel</html>"),
            "empty": (200, b""),
        }
        if mood in early:
            status, content = early[mood]
            self._say(status, content, "text/html")
            return
        if mood == "unavailable":
            self._say(503, b"busy", "text/plain", {"Retry-After": "7"})
            return
        if mood == "refuse":
            status, body = self.world.refuse_for_good(parts.path)
        elif mood == "too_fast":
            status, body = self.world.too_many(parts.path)
        else:
            status, body = self.world.answer(method, parts.path, query, raw, self.headers)
        if mood == "slow":
            time.sleep(self.world.slow_s)
        if mood in ("drop_after_accept", "slow"):
            self.connection.close()
            self.close_connection = True
            return
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        self._say(status, content, "application/json; charset=utf-8")

    def _say(self, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _page(world: FakeRobots) -> str:
    """What people see in their groups, newest first."""
    rows = "".join(
        f"<article><h2>{html.escape(item.service)} · {html.escape(item.recipient[:12])}</h2>"
        f"<pre>{html.escape(item.text)}</pre></article>"
        for item in reversed(world.taken[-200:])
    )
    style = "body{font:16px sans-serif;max-width:420px;margin:auto;background:#eee}article{background:#fff;margin:12px;padding:8px 12px;border-radius:8px}h2{font-size:13px;color:#666}pre{white-space:pre-wrap;font:inherit}"
    return f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><style>{style}</style><title>群机器人</title>{rows}"


def main() -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Fake chat robots on this machine.")
    parser.add_argument("--port", type=int, default=8602)
    robots = FakeRobots(port=parser.parse_args().port).start()
    sys.stdout.write(
        f"fake robots: {robots.base_url} (key {KEY}, secret {SECRET}); messages: {robots.base_url}/\n"
    )
    sys.stdout.flush()
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
