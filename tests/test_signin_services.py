"""Sign-in by OpenID Connect, CAS, LDAP and a gateway's header, each against a small server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from console.services import groups_of
from incidents import accounts, queries
from incidents.session import Database
from tests.console_world import PASSWORD, World, client, submit, world
from tests.fakes.signin import CasServer, Directory, Issuer, serving

ROLES = {"yq-duty": "duty", "yq-edu": "department:edu"}


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    use(made, "signin", group_roles=ROLES)
    return made


def use(town: World, section: str, **values: object) -> None:
    """Other settings of one section."""
    settings = town.bundle.settings
    changed = getattr(settings, section).model_copy(update=values)
    object.__setattr__(town.bundle, "settings", settings.model_copy(update={section: changed}))


@pytest.fixture
def issuer(town: World) -> Iterator[Issuer]:
    with serving(Issuer()) as made:
        made.now = town.now.timestamp()
        use(town, "oidc", issuer=made.base, client_id="quansheng", client_secret=SecretStr("s"))
        yield made


def failures(town: World) -> list[dict[str, object]]:
    with town.db.reading() as session:
        return [event.payload for event in queries.latest_events(session, 50, ["login_failed"])]


def by_oidc(town: World, issuer: Issuer, goal: str = "/rules") -> tuple[httpx.Client, httpx.Response]:
    """There and back, as a browser goes."""
    browser = client(town, None)
    sent = browser.get("/sign-in/oidc", params={"goal": goal})
    asked = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
    issuer.nonce, issuer.challenge = asked["nonce"], asked["code_challenge"]
    assert asked["code_challenge_method"] == "S256"
    return browser, browser.get("/sign-in/oidc/back", params={"code": "c", "state": asked["state"]})


def test_openid_signs_in_with_the_role_of_the_group(town: World, issuer: Issuer) -> None:
    assert "/sign-in/oidc" in client(town, None).get("/login").text
    browser, answer = by_oidc(town, issuer)
    assert answer.headers["location"] == "/rules"
    page = browser.get("/account").text
    assert "何南" in page
    assert "值班员" in page
    assert len(issuer.verifier) > 42
    assert browser.get("/password").headers["location"] == "/account", "no password of ours"


@pytest.mark.parametrize(
    "change",
    [{"aud": "somebody-else"}, {"iss": "https://evil.example"}, {"nonce": "x"}, {"exp": 1000}, {"issuer": "https://evil.example"}],
    ids=str,
)  # fmt: skip
def test_an_id_token_that_does_not_hold_signs_nobody_in(
    town: World, issuer: Issuer, change: dict[str, object]
) -> None:
    if "issuer" not in change:
        issuer.change = change
        browser, answer = by_oidc(town, issuer)
        assert answer.status_code == 401
    else:
        issuer.change = change
        browser = client(town, None)
        assert browser.get("/sign-in/oidc").status_code == 503
    assert browser.get("/").status_code == 303
    assert failures(town)


def test_a_token_of_another_key_or_another_browser_s_answer_is_not_taken(town: World, issuer: Issuer) -> None:
    issuer.key = RSAKey.generate_key(2048, {"kid": "a"})
    assert by_oidc(town, issuer)[1].status_code == 401
    stranger = client(town, None)
    assert stranger.get("/sign-in/oidc/back?code=c&state=guessed").status_code == 401
    assert stranger.get("/").status_code == 303


def test_who_is_in_no_group_has_no_account_and_a_changed_group_changes_the_role(
    town: World, issuer: Issuer
) -> None:
    by_oidc(town, issuer)
    issuer.claims["groups"] = ["yq-edu"]
    by_oidc(town, issuer)
    with town.db.reading() as session:
        account = accounts.get_by_subject(session, "oidc", "u-17")
    assert account is not None
    assert (account.role, account.department) == ("department", "edu")
    issuer.claims["groups"] = ["strangers"]
    _, answer = by_oidc(town, issuer)
    assert answer.status_code == 403
    assert "没有角色" in answer.text


def test_a_local_account_of_the_same_name_is_not_taken_over(town: World, issuer: Issuer) -> None:
    issuer.claims["sub"] = "lin"
    by_oidc(town, issuer)
    with town.db.reading() as session:
        local = accounts.get_by_login(session, "lin")
        other = accounts.get_by_subject(session, "oidc", "lin")
    assert local is not None
    assert other is not None
    assert (local.origin, other.login) == ("local", "oidc-lin")
    browser = client(town, None)
    answer = submit(browser, browser.get("/login").text, "/login", login="oidc-lin", password="")
    assert answer.status_code == 401, "no password opens an account of a service"


def test_cas_signs_in_and_each_ticket_is_good_once(town: World) -> None:
    with serving(CasServer()) as cas:
        use(town, "cas", url=f"{cas.base}/cas")
        browser = client(town, None)
        sent = urlsplit(browser.get("/sign-in/cas").headers["location"])
        service = dict(parse_qsl(sent.query))["service"]
        back = urlsplit(service)
        cas.tickets["ST-1"] = service
        path = f"{back.path}?{back.query}&ticket=ST-1"
        assert browser.get(path).headers["location"] == "/"
        assert "何南" in browser.get("/account").text
        assert client(town, None).get(path).status_code == 401, "another browser"
        again = client(town, None)
        again.get("/sign-in/cas")
        assert again.get("/sign-in/cas/back?ticket=ST-2").status_code == 401


@pytest.fixture
def directory(town: World) -> Iterator[Directory]:
    made = Directory("dir-Pass-1", ["cn=yq-duty,ou=groups,dc=city"])
    use(
        town,
        "ldap",
        url=made.url,
        start_tls=False,
        bind_dn=made.SERVICE[0],
        bind_password=SecretStr(made.SERVICE[1]),
        base="dc=city",
    )
    yield made
    made.close()


def test_the_directory_s_password_signs_in_and_a_wrong_or_empty_one_does_not(
    town: World, directory: Directory
) -> None:
    def log_in(login: str, password: str) -> tuple[httpx.Client, httpx.Response]:
        browser = client(town, None)
        page = browser.get("/login").text
        return browser, submit(browser, page, "/login", login=login, password=password)

    for login, password in (("he-nan", "wrong"), ("he-nan", ""), ("nobody", "x"), ("*", "dir-Pass-1")):
        assert log_in(login, password)[1].status_code == 401, (login, password)
    assert "*" in directory.filters or "\\2a" in directory.filters, "a star is a letter, not a pattern"
    browser, answer = log_in("he-nan", "dir-Pass-1")
    assert answer.status_code == 303
    assert "何南" in browser.get("/account").text
    assert log_in("lin", PASSWORD)[1].status_code == 303, "local accounts go on"
    assert "lin" not in directory.filters, "and their passwords are shown to nobody"


def test_a_directory_that_cannot_be_asked_is_told_and_local_accounts_go_on(
    town: World, directory: Directory
) -> None:
    use(town, "ldap", url="ldap://127.0.0.1:9", start_tls=False)
    browser = client(town, None)
    page = browser.get("/login").text
    assert submit(browser, page, "/login", login="he-nan", password="dir-Pass-1").status_code == 503
    assert client(town).get("/").status_code == 200


def test_a_gateway_s_header_is_believed_from_the_gateway_only(town: World) -> None:
    named = {"X-Remote-User": "he-nan", "X-Groups": "yq-duty"}
    assert client(town, None).get("/login", headers=named).status_code == 200, "not configured"
    use(
        town,
        "gateway",
        header="X-Remote-User",
        groups_header="X-Groups",
        proxies=(ip_network("10.9.0.0/24"),),
    )
    browser = client(town, None)
    assert browser.get("/login", headers=named).status_code == 200, "from anywhere else"
    forged = {**named, "X-Forwarded-For": "10.9.0.7"}
    assert browser.get("/login", headers=forged).status_code == 200
    use(town, "gateway", proxies=(ip_network("127.0.0.1/32"),))
    assert browser.get("/login?goal=/rules", headers=named).headers["location"] == "/rules"
    assert browser.get("/rules").status_code == 200
    twice = client(town, None).get(
        "/login", headers=[("X-Remote-User", "a"), ("X-Remote-User", "b"), ("X-Groups", "yq-duty")]
    )
    assert twice.status_code == 200, "a header twice names nobody"


def test_groups_are_read_however_they_are_told() -> None:
    assert groups_of(["a", "b"]) == ("a", "b")
    assert groups_of("a, b") == ("a", "b")
    assert "yq-duty" in groups_of(["CN=yq-duty,OU=groups,DC=city"])
    assert "yq-duty" in groups_of("cn=yq-duty,ou=groups,dc=city")
    assert groups_of(None) == ()
