"""The whole product against real servers: WordPress is read, an alert arrives by SMTP and at Slack's door, the link
acknowledges it, the console closes the incident, the weekly report comes by mail. `make test-real` runs this.

Every step says what it asserts and how long it took; the first wrong one ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.controller import Controller

from config.bundle import load_bundle
from config.keys import load_keys
from demo.city import ZONE, CityPost, load_day
from demo.fake_slack import CHANNEL, TOKEN, FakeSlack
from incidents import clocks, events, posts, queries, sources
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import State
from incidents.totals import totals
from tests.real.reader import command
from tests.real.wordpress import WordPress, ensure_packages, free_port, wait_for

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("wp-feed", "wp-rest", "wp-sitemap")
SENDER, OFFICE = "quansheng@city.invalid", "office@city.invalid"
_BEGUN = time.monotonic()


def say(text: str) -> None:
    """One step of the proof, with the seconds since the beginning."""
    sys.stdout.write(f"[{time.monotonic() - _BEGUN:6.1f} s] {text}\n")
    sys.stdout.flush()


@dataclass
class Mailbox:
    """Handler of a real SMTP server: keeps every mail that it accepted."""

    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Accept everything."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((list(envelope.rcpt_tos), message))
        return "250 OK"

    def to(self, recipient: str) -> list[EmailMessage]:
        """What one recipient got."""
        return [mail for recipients, mail in self.mails if recipient in recipients]


def write_config(folder: Path, wordpress: str, smtp_port: int, console_port: int, slack: str) -> None:
    """A configuration such as an operator would write, for this WordPress and these servers."""
    (folder / "quansheng.toml").write_text(
        "[crawl]\ndelay_s = 0.1\nallow_private_hosts = ['127.0.0.1']\n"
        f"[mail]\nhost = '127.0.0.1'\nport = {smtp_port}\nsender = '{SENDER}'\n"
        f"[slack]\nchannel = '{CHANNEL}'\nbase_url = '{slack}'\n"
        f"[console]\nport = {console_port}\n"
        f"[reports]\nrecipients = ['{OFFICE}']\n",
        "utf-8",
    )
    common = (
        "    enabled: true\n    every_min: 1\n    legal_basis: 履行法定职责\n"
        "    impact_note: 本机回环, 每分钟一次\n    owner_unit: 市政府办公厅\n"
    )
    (folder / "sources.yaml").write_text(
        "sources:\n"
        f"  - id: wp-feed\n    name: 论坛订阅源\n    kind: rss\n    url: {wordpress}/feed/\n"
        f"    max_pages: 9\n    page_param: paged\n{common}"
        f"  - id: wp-rest\n    name: 论坛接口\n    kind: json\n"
        f"    url: '{wordpress}/wp-json/wp/v2/posts?per_page=50&_fields=id,link,title,content,date_gmt'\n"
        "    timezone: '+00:00'\n"
        "    fields: {id: id, url: link, title: title.rendered, text: content.rendered, published_at: date_gmt}\n"
        f"    pagination: {{kind: link, max_pages: 5}}\n{common}"
        f"  - id: wp-sitemap\n    name: 论坛站点地图\n    kind: sitemap\n    url: {wordpress}/wp-sitemap.xml\n"
        f"    link_pattern: /archives/\\d+/\n{common}",
        "utf-8",
    )


class Product:
    """`quansheng run` in a process of its own, and its database, opened for looking."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = os.environ | environment
        self.log = folder / "product.log"
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "-c", str(folder), "run"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=self.environment,
            )
        self.password = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"password: (\S+)", line)
            self.password = found[1] if found else self.password
            if "Ctrl-C stops" in line:
                break
        else:
            raise RuntimeError(f"quansheng run did not start: {self.log.read_text()[-2000:]}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.audit_key = load_keys(folder / "var").audit
        self.db = Database(f"sqlite:///{folder / 'var' / 'quansheng.db'}", audit_key=self.audit_key)

    def command(self, *arguments: str) -> str:
        """Another `quansheng` command on the same installation, which must succeed."""
        return command(self.folder, *arguments, environment=self.environment)

    def incidents(self) -> list[IncidentView]:
        """Every incident that was raised."""
        with self.db.reading() as session:
            return queries.list_incidents(session, states=[str(s) for s in State if s != State.WATCHING])

    def posts_by_source(self) -> dict[str, int]:
        """How many posts each source has given."""
        with self.db.reading() as session:
            return {view.source_id: view.posts_total for view in sources.list_states(session)}

    def unjudged(self) -> int:
        """How many posts wait for a judgement."""
        with self.db.reading() as session:
            return posts.count_unjudged(session)

    def kinds(self, incident_id: int) -> list[str]:
        """Kinds of the events of one incident, in order."""
        with self.db.reading() as session:
            return [event.kind for event in queries.events_of(session, incident_id)]

    def close(self) -> None:
        """Stop it if it still runs."""
        self.db.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Browser:
    """A person with a browser: keeps cookies, sends the hidden fields of the forms it was shown."""

    def __init__(self, base: str) -> None:
        self.http = httpx.Client(base_url=base, timeout=30, headers={"Origin": base})

    def form(self, path: str, action: str) -> dict[str, str]:
        """The fields of the form on page `path` that posts to `action`, with the values they came with."""
        page = self.http.get(path)
        assert page.status_code == 200, f"GET {path}: {page.status_code}"
        forms = re.findall(r"<form\b([^>]*)>(.*?)</form>", page.text, re.DOTALL)
        for head, body in forms:
            target = re.search(r'action="([^"]*)"', head)
            if target is not None and target[1].split("?")[0] == action:
                fields = {}
                for tag in re.findall(r"<input\b[^>]*>", body):
                    name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
                    if name:
                        fields[name[1]] = value[1] if value else ""
                return fields
        raise AssertionError(f"GET {path}: no form that posts to {action}")

    def submit(self, path: str, action: str, **fields: str) -> httpx.Response:
        """Fill in and send a form; it has to be answered with a redirect."""
        answer = self.http.post(action, data=self.form(path, action) | fields)
        assert answer.status_code == 303, f"POST {action}: {answer.status_code}: {_text(answer.text)[:400]}"
        return answer


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@dataclass
class Stage:
    """Everything that runs during the proof."""

    wordpress: WordPress
    mailbox: Mailbox
    slack: FakeSlack
    product: Product
    console: str


@contextmanager
def stage(folder: Path, background: list[CityPost]) -> Iterator[Stage]:
    """Start the servers, fill WordPress with the ordinary day, start the product."""
    wordpress = WordPress(folder)
    say(f"WordPress runs at {wordpress.base}")
    mailbox = Mailbox()
    smtp = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    smtp.start()
    slack = FakeSlack().start()
    try:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        for post in background:
            minute = post.at.hour * 60 + post.at.minute
            wordpress.publish(post.title, post.text, yesterday + timedelta(minutes=minute * 0.95))
        say(f"{len(background)} posts of an ordinary day published through its REST API")
        config, port = folder / "config", free_port()
        config.mkdir()
        write_config(config, wordpress.base, smtp.port, port, slack.base_url)
        product = Product(config, {"QUANSHENG_SLACK__TOKEN": TOKEN})
        try:
            say("quansheng run has started")
            yield Stage(wordpress, mailbox, slack, product, f"http://127.0.0.1:{port}")
        finally:
            product.close()
    finally:
        slack.stop()
        smtp.stop()
        wordpress.close()


def crawled(at: Stage, expected: int) -> None:
    """Every source has brought every post, each once."""

    def all_there() -> bool:
        found = at.product.posts_by_source()
        return all(found.get(name, 0) >= expected for name in SOURCES)

    wait_for(f"{expected} posts from each of {', '.join(SOURCES)}", all_there, 240)
    found = at.product.posts_by_source()
    assert all(found[name] == expected for name in SOURCES), f"posts stored twice: {found}"
    # what comes next meets a product that has caught up, on a slow machine too
    wait_for("every post to be judged", lambda: at.product.unjudged() == 0, 240)
    say(f"crawled over feed, REST and sitemap: {found}")


def alerted(at: Stage) -> IncidentView:
    """The incident is raised as one, and its alert arrives by mail and at Slack."""

    def told() -> list[IncidentView]:
        return [i for i in at.product.incidents() if i.domain == "food_safety" and i.alerted_at is not None]

    try:
        wait_for("an incident of food safety whose page was accepted", lambda: bool(told()), 120)
    except TimeoutError:
        for one in at.product.incidents():
            say(
                f"there is {one.number} {one.title}: {one.domain}, {one.state}, {one.posts} posts, alerted {one.alerted_at}"
            )
        raise
    first = min(told(), key=lambda item: item.id)
    number = first.number or "-"
    wait_for("its alert mail", lambda: any(number in _body(mail) for _, mail in at.mailbox.mails), 60)
    wait_for("its Slack message", lambda: any(number in str(message) for message in at.slack.messages), 60)
    assert first.alerted_at is not None
    delay = first.alerted_at - first.first_posted_at
    say(
        f"{first.number} {first.title}: alert by SMTP and Slack {delay.total_seconds():.0f} s after the first post"
    )
    return first


def _body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain", "html"))
    return str(part.get_content()) if part is not None else ""


def acknowledge(at: Stage, incident: IncidentView) -> None:
    """The link in the mail: a GET changes nothing, a POST acknowledges, a second one acts once."""
    links = [
        link
        for _, mail in at.mailbox.mails
        if (incident.number or "-") in _body(mail)
        for link in re.findall(rf"{re.escape(at.console)}(/a/[\w.\-]+)", _body(mail))
    ]
    assert links, "the mail holds no acknowledgement link"
    browser = Browser(at.console)
    assert browser.http.get(links[0]).status_code == 200
    assert "page_acknowledged" not in at.product.kinds(incident.id), "a GET has acknowledged"
    browser.submit(links[0], links[0])
    again = browser.http.post(links[0], data={"csrf": "guessed"})
    assert again.status_code == 403, f"a POST without the form's token was answered with {again.status_code}"
    assert at.product.kinds(incident.id).count("page_acknowledged") == 1
    say("acknowledged by the link: the GET changed nothing, the POST did")


def close_in_console(at: Stage, incident: IncidentView) -> None:
    """Log in with the first password, choose an own one, and work the incident to its end."""
    browser, own = Browser(at.console), "Quanzi-zai-2026!"
    browser.submit("/login", "/login", login="admin", password=at.product.password)
    browser.submit("/password", "/password", old=at.product.password, new=own, again=own)
    # who keeps the accounts decides nothing: the administrator makes an account for the desk
    person = {"login": "lin-dong", "display_name": "林东", "role": "duty", "department": ""}
    made = browser.http.post("/accounts", data=browser.form("/accounts", "/accounts") | person)
    first = re.findall(r'<b class="mono">([^<]+)</b>', made.text)[0]
    browser = Browser(at.console)
    browser.submit("/login", "/login", login="lin-dong", password=first)
    browser.submit("/password", "/password", old=first, new=own, again=own)
    page = f"/incidents/{incident.number}"
    departments = load_bundle(at.product.folder / "quansheng.toml").departments
    department = departments.suggest(incident.domain, incident.district).department.id
    for act, fields in (
        ("confirm", {"note": "已电话核实"}),
        ("assign", {"department": department}),
        ("sign", {"officer": "值班科员"}),
        ("respond", {"url": "https://www.city.invalid/notice/1", "summary": "联合工作组通报"}),
        ("evaluate", {"score": "85"}),
        ("close", {"note": "检测结果已公布"}),
    ):
        browser.submit(page, f"{page}/{act}", **fields)
    kinds = at.product.kinds(incident.id)
    for kind in ("confirmed", "assigned", "signed", "responded", "evaluated", "closed"):
        assert kinds.count(kind) == 1, f"{kind}: {kinds.count(kind)} times in {kinds}"

    def clock_states() -> dict[str, str]:
        with at.product.db.reading() as session:
            return {clock.rule_id: clock.state for clock in clocks.deadlines_of(session, incident.id)}

    wait_for("the answer to stop every clock", lambda: set(clock_states().values()) == {"met"}, 20)
    say(f"closed in the console: {' → '.join(kinds)}; clocks: {clock_states()}")


def reported(at: Stage) -> None:
    """The weekly report comes by mail with pictures and a plain-text part."""
    year, week, _ = datetime.now(ZONE).isocalendar()
    at.product.command("report", "weekly", "--week", f"{year}-W{week:02d}", "--send")
    wait_for("the weekly report", lambda: bool(at.mailbox.to(OFFICE)), 60)
    mail = at.mailbox.to(OFFICE)[0]
    kinds = [part.get_content_type() for part in mail.walk()]
    assert "text/plain" in kinds, kinds
    assert "text/html" in kinds, kinds
    pictures = sum(kind.startswith("image/") for kind in kinds)
    assert pictures, "the report has no chart"
    say(f"weekly report mailed: {mail['Subject']} ({pictures} charts)")


def _unchanged(at: Stage) -> list[str]:
    """Requests in which the product asked only whether the feed had changed, and it had not."""
    return [line for line in at.wordpress.requests() if "GET /feed/ [304]" in line]


def well(at: Stage) -> None:
    """Nobody was told twice, the record is whole, the feed was asked politely, the end is clean."""
    names = [mail["Message-ID"] for _, mail in at.mailbox.mails]
    assert len(names) == len(set(names)), "a mail arrived twice"
    keys = [message.get("client_msg_id") for message in at.slack.messages]
    assert len(keys) == len(set(keys)), "a Slack message arrived twice"
    say(at.product.command("audit", "verify").strip())
    wait_for("a feed request answered 304", lambda: bool(_unchanged(at)), 100)
    assert any("GET /robots.txt" in line for line in at.wordpress.requests()), "robots.txt was not read"
    at.product.process.send_signal(signal.SIGTERM)
    assert at.product.process.wait(30) == 0, "no clean stop on SIGTERM"
    with at.product.db.reading() as session:
        count = totals(session)
        verdict = events.verify(session, at.product.audit_key)
    assert verdict.ok, verdict.reason
    say(
        f"{count.posts} posts, {count.incidents} incidents, {count.events} events, {len(names)} mails, "
        f"{len(keys)} Slack messages, {len(_unchanged(at))} feed requests answered 304; clean stop"
    )


def main() -> int:
    """Run the proof; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    keep = parser.parse_args().keep
    day = load_day(datetime.now(UTC).date())
    canteen = [post for post in day if post.matter == "canteen"][:18]
    # together 121: five pages of the feed, three of the REST API
    background = [post for post in day if post.matter not in ("canteen", "housing")]
    if ensure_packages():
        say("WordPress, MariaDB and PHP installed from Debian's packages")
    folder = Path(tempfile.mkdtemp(prefix="quansheng-real-"))
    try:
        with stage(folder, background) as at:
            crawled(at, len(background))
            for post in canteen:
                at.wordpress.publish(post.title, post.text, datetime.now(UTC))
            say(f"{len(canteen)} posts of a growing incident published")
            incident = alerted(at)
            acknowledge(at, incident)
            crawled(at, len(background) + len(canteen))
            close_in_console(at, incident)
            reported(at)
            well(at)
    except (AssertionError, TimeoutError) as wrong:
        say(f"WRONG: {wrong or type(wrong).__name__}")
        for log in ("config/product.log", "access.log"):
            path = folder / log
            if path.is_file():
                sys.stdout.write(f"--- end of {log}\n{path.read_text('utf-8', 'replace')[-3000:]}\n")
        return 1
    finally:
        if not keep:
            subprocess.run(["rm", "-rf", str(folder)], check=False)
    say("Proved.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
