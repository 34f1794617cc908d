"""LDAP or AD: find the person, then bind with the password that was typed. Needs the optional package ldap3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.settings import LdapSettings
from console.services import NotKnown, Person, groups_of

WAIT = 8


def person(settings: LdapSettings, login: str, password: str) -> Person | None:
    """Whose login and password these are, None when they are wrong. Raises NotKnown when the directory cannot be asked."""
    try:
        import ldap3  # optional: only where it is configured
        from ldap3.core.exceptions import LDAPException
        from ldap3.utils.conv import escape_filter_chars
    except ImportError as exc:
        raise NotKnown("ldap3 is not installed: pip install quansheng[ldap]") from exc
    # an empty password is an anonymous bind, which every directory grants
    if not login or not password:
        return None
    server = ldap3.Server(settings.url, connect_timeout=WAIT, get_info=ldap3.NONE)
    wanted = [settings.name_attribute, settings.groups_attribute, settings.login_attribute]
    try:
        found = _search(ldap3, server, settings, escape_filter_chars(login), wanted)
        if found is None:
            return None
        with _open(ldap3, server, settings, found["dn"], password) as mine:
            if not mine.bound:
                return None
    except LDAPException as exc:
        raise NotKnown(f"the directory cannot be asked: {type(exc).__name__}") from exc
    given = {str(key).lower(): value for key, value in found["attributes"].items()}

    def first(name: str) -> str:
        value = given.get(name.lower())
        return str(value[0] if isinstance(value, list) and value else value or "")

    return Person(
        first(settings.login_attribute).lower() or login.lower(),
        first(settings.name_attribute) or login,
        groups_of(given.get(settings.groups_attribute.lower())),
    )


def _search(
    ldap3: Any, server: Any, settings: LdapSettings, login: str, wanted: list[str]
) -> dict[str, Any] | None:
    with _open(
        ldap3, server, settings, settings.bind_dn or None, settings.bind_password.get_secret_value() or None
    ) as asking:
        if not asking.bound:
            raise NotKnown("the directory refused the account that searches")
        asking.search(settings.base, f"({settings.login_attribute}={login})", attributes=wanted, size_limit=2)
        rows = [row for row in asking.response or [] if row.get("type") == "searchResEntry"]
    # two people of one name are nobody
    return rows[0] if len(rows) == 1 else None


@contextmanager
def _open(
    ldap3: Any, server: Any, settings: LdapSettings, who: str | None, password: str | None
) -> Iterator[Any]:
    """A connection that is bound if the name and password are right, and closed in any case."""
    connection = ldap3.Connection(
        server,
        user=who,
        password=password,
        auto_bind=ldap3.AUTO_BIND_NONE,
        receive_timeout=WAIT,
        read_only=True,
    )
    try:
        connection.open()
        if settings.start_tls and not settings.url.startswith("ldaps://") and not connection.start_tls():
            raise NotKnown("the directory does not encrypt (StartTLS was refused)")
        connection.bind()
        yield connection
    finally:
        connection.unbind()
        if connection.socket is not None:  # it never got a connection, and the library leaves its socket open
            connection.socket.close()
