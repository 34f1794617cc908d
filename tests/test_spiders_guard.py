"""No source, redirect or DNS answer leads the crawler into a private network."""

from __future__ import annotations

import pytest

from incidents.session import Database
from spiders.guard import check_url, is_private
from spiders.problems import Refused
from tests.fakes.crawl import crawl, source
from tests.fakes.site import Answer, Site, rss


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "114.114.114.114", "2001:4860:4860::8888", "::ffff:8.8.8.8", "www.jinan.gov.cn"]
)
def test_public_addresses_pass(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a.cn/",
        "gopher://a.cn/",
        "http://",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://localhost./",
        "http://other.cn/",
    ],
)
def test_addresses_that_may_not_be_asked_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check_url(url, {"a.cn", "127.0.0.1", "::1", "2130706433", "0x7f000001", "127.1", "0177.0.0.1"}, ())


def test_a_named_private_host_may_be_asked() -> None:
    check_url("http://127.0.0.1:81/x", {"127.0.0.1"}, {"127.0.0.1"})


def test_a_private_source_is_refused_unless_the_operator_names_it(db: Database) -> None:
    with Site() as site:
        site.page("/f", rss([{"title": "停水", "guid": "g"}]), kind="text/xml")
        (told,) = crawl(db, source("a", "rss", site.url + "/f"), allow_private_hosts=()).sources
        assert told.state == "error"
        assert "crawl.allow_private_hosts" in told.evidence
        assert site.hits() == 0


def test_a_name_that_resolves_to_a_private_address_is_refused(db: Database) -> None:
    with Site() as site:
        site.page("/f", rss([{"title": "停水", "guid": "g"}]), kind="text/xml")
        named = source("a", "rss", f"http://localhost:{site.port}/f")
        (told,) = crawl(db, named, allow_private_hosts=()).sources
        assert told.state == "robots"  # its robots.txt was out of reach for the same reason
        assert "private address" in told.evidence
        assert site.hits() == 0
        assert crawl(db, named, allow_private_hosts=("localhost",), only=("a",)).new_posts in (0, 1)


def test_a_redirect_into_the_private_network_is_refused(db: Database) -> None:
    with Site() as site:
        site.on("/f", Answer(302, headers={"Location": "http://10.0.0.1/secret"}))
        (told,) = crawl(db, source("a", "rss", site.url + "/f", allow_hosts=["10.0.0.1"])).sources
        assert told.state == "error"
        assert "10.0.0.1 is a private address" in told.evidence


def test_robots_txt_that_redirects_into_the_private_network_forbids(db: Database) -> None:
    with Site() as site:
        site.on("/robots.txt", Answer(302, headers={"Location": "http://169.254.169.254/latest/meta-data"}))
        site.page("/f", rss([{"title": "停水", "guid": "g"}]), kind="text/xml")
        (told,) = crawl(db, source("a", "rss", site.url + "/f")).sources
        assert told.state == "robots"
        assert site.hits("/f") == 0
