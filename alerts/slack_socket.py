"""Socket Mode: presses of Slack's buttons reach a house without ingress over a connection that it opened itself.

An envelope is confirmed only after its command is committed. When that cannot be done, it is not confirmed: the person
sees Slack's error mark and presses again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from alerts import slack_actions
from config.bundle import Bundle
from config.keys import Keys
from incidents import beats
from incidents.session import Database
from incidents.trouble import DatabaseTrouble

BEAT = "slack.socket"
_log = logging.getLogger(__name__)


class SlackSocket:
    """The connection of one house. `start` returns at once; it connects again by itself."""

    def __init__(self, db: Database, bundle: Bundle, keys: Keys, clock: Callable[[], datetime]) -> None:
        self._db, self._bundle, self._keys, self._clock = db, bundle, keys, clock
        slack = bundle.settings.slack
        base = slack.base_url if slack.base_url.endswith("/") else f"{slack.base_url}/"
        opener = WebClient(base_url=base, timeout=10, retry_handlers=[], logger=_log)
        self._client = SocketModeClient(
            app_token=slack.app_token.get_secret_value(),
            web_client=opener,
            logger=_log,
            concurrency=4,
            auto_reconnect_enabled=True,
        )
        self._client.socket_mode_request_listeners.append(self._on_request)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._connect, name="slack-socket", daemon=True)

    def start(self) -> SlackSocket:
        """Connect in the background, with growing pauses while Slack cannot be reached."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the connection."""
        self._stop.set()
        self._client.close()

    @property
    def connected(self) -> bool:
        """Whether presses reach us now."""
        return bool(self._client.is_connected())

    def _connect(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            try:
                self._client.connect()
            except (SlackApiError, OSError, ValueError) as error:
                _log.warning("Slack's socket cannot be opened: %s; next try in %.0f s", error, pause)
                self._stop.wait(pause)
                pause = min(60.0, pause * 2)
                continue
            with self._db.transaction() as session:
                beats.beat(session, BEAT, self._clock(), {"connected": True})
            return  # from here on the client connects again by itself

    def _on_request(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        if request.type != "interactive":
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
            return
        payload: dict[str, Any] = dict(request.payload)
        try:
            reply = slack_actions.handle(self._db, self._bundle, self._keys, payload, self._clock())
        except DatabaseTrouble as trouble:
            _log.error("a press in Slack was not carried out: %s", trouble)
            return  # not confirmed: the person sees it and presses again
        if reply.view is not None:
            slack_actions.answer(self._bundle, reply)  # its trigger is good for three seconds
        client.send_socket_mode_response(
            SocketModeResponse(
                envelope_id=request.envelope_id, payload=slack_actions.submission_answer(reply) or {}
            )
        )
        if reply.view is None:
            slack_actions.answer(self._bundle, reply)
