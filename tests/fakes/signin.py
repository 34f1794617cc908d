"""Small sign-in services on loopback: an OpenID issuer, a CAS server, an LDAP directory."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from ldap3.protocol.rfc4511 import LDAPMessage
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]


class Issuer:
    """An OpenID issuer whose answers a test may spoil: `change` goes over the claims, `key` signs."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "a"})
        self.known = KeySet([self.key])
        self.change: dict[str, Any] = {}
        self.claims: dict[str, Any] = {"sub": "u-17", "name": "何南", "groups": ["yq-duty", "other"]}
        self.nonce = ""
        self.challenge = ""
        self.verifier = ""
        self.now = time.time()
        self.base = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, str]) -> tuple[str, str]:
        """Content and type for one request."""
        if path == "/.well-known/openid-configuration":
            return json.dumps(
                {
                    "issuer": self.change.get("issuer", self.base),
                    "authorization_endpoint": f"{self.base}/authorize",
                    "token_endpoint": f"{self.base}/token",
                    "jwks_uri": f"{self.base}/jwks",
                }
            ), "application/json"
        if path == "/jwks":
            return json.dumps(self.known.as_dict(private=False)), "application/json"
        assert path == "/token", path
        self.verifier = body["code_verifier"]
        claims = {
            "iss": self.base,
            "aud": "quansheng",
            "exp": int(self.now) + 300,
            "iat": int(self.now),
            "nonce": self.nonce,
            **self.claims,
            **self.change,
        }
        token = jwt.encode({"alg": "RS256", "kid": "a"}, claims, self.key, algorithms=["RS256"])
        return json.dumps(
            {"access_token": "x", "token_type": "Bearer", "id_token": token}
        ), "application/json"


class CasServer:
    """A CAS server that knows one ticket, for one address, once."""

    def __init__(self) -> None:
        self.tickets: dict[str, str] = {}
        self.user = "he-nan"
        self.groups = ["yq-duty"]
        self.base = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, str]) -> tuple[str, str]:
        """Content and type for one request."""
        assert path == "/cas/p3/serviceValidate", path
        head = "<cas:serviceResponse xmlns:cas='http://www.yale.edu/tp/cas'>"
        if self.tickets.pop(query.get("ticket", ""), None) != query.get("service"):
            return (
                f"{head}<cas:authenticationFailure code='INVALID_TICKET'/></cas:serviceResponse>",
                "text/xml",
            )
        groups = "".join(f"<cas:memberOf>{group}</cas:memberOf>" for group in self.groups)
        return (
            f"{head}<cas:authenticationSuccess><cas:user>{self.user}</cas:user><cas:attributes>"
            f"<cas:displayName>何南</cas:displayName>{groups}</cas:attributes></cas:authenticationSuccess>"
            "</cas:serviceResponse>"
        ), "text/xml"


@contextmanager
def serving(what: Any) -> Iterator[Any]:
    """`what` behind a port of loopback; its `base` is set to the address."""

    class Handler(BaseHTTPRequestHandler):
        def _go(self, body: str = "") -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            form = {key: values[0] for key, values in parse_qs(body).items()}
            content, kind = what.answer(self.command, parts.path, query, form)
            raw = content.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self) -> None:
            self._go()

        def do_POST(self) -> None:
            self._go(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    what.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield what
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Directory:
    """An LDAP directory of one person. Binds and searches are answered as RFC 4511 wants them."""

    DN = "uid=he-nan,ou=people,dc=city"
    SERVICE = ("cn=reader,dc=city", "reader-secret")

    def __init__(self, password: str, groups: list[str]) -> None:
        self.password, self.groups = password, groups
        self.binds: list[str] = []
        self.filters: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        data = b""
        with connection:
            while piece := connection.recv(4096):
                data += piece
                while data:
                    try:
                        message, data = decoder.decode(data, asn1Spec=LDAPMessage())
                    except Exception:  # noqa: BLE001 (not all of it is there yet)
                        break
                    kind = message["protocolOp"].getName()
                    if kind == "unbindRequest":
                        return
                    for answer in self._answers(int(message["messageID"]), kind, message["protocolOp"]):
                        connection.sendall(answer)

    def _answers(self, number: int, kind: str, asked: Any) -> Iterator[bytes]:
        if kind == "bindRequest":
            who = str(asked["bindRequest"]["name"])
            given = bytes(asked["bindRequest"]["authentication"]["simple"]).decode()
            self.binds.append(who)
            right = (who, given) == self.SERVICE or (who, given) == (self.DN, self.password)
            yield self._result(number, "bindResponse", 0 if right else 49)
            return
        found = asked["searchRequest"]["filter"]["equalityMatch"]
        value = bytes(found["assertionValue"]).decode()
        self.filters.append(value)
        if value == "he-nan":
            yield self._entry(number)
        yield self._result(number, "searchResDone", 0)

    def _result(self, number: int, kind: str, code: int) -> bytes:
        message = LDAPMessage()
        message["messageID"] = number
        part = message.getComponentByName("protocolOp")
        result = part.setComponentByName(kind).getComponentByName(kind)
        result["resultCode"] = code
        result["matchedDN"] = ""
        result["diagnosticMessage"] = ""
        return bytes(encoder.encode(message))

    def _entry(self, number: int) -> bytes:
        message = LDAPMessage()
        message["messageID"] = number
        part = message.getComponentByName("protocolOp")
        entry = part.setComponentByName("searchResEntry").getComponentByName("searchResEntry")
        entry["object"] = self.DN
        for at, (name, values) in enumerate(
            (("uid", ["he-nan"]), ("displayName", ["何南"]), ("memberOf", self.groups))
        ):
            item = entry["attributes"].setComponentByPosition(at).getComponentByPosition(at)
            item["type"] = name
            for place, value in enumerate(values):
                item["vals"].setComponentByPosition(place, value.encode())
        return bytes(encoder.encode(message))
