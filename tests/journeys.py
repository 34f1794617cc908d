"""The console in a real Chromium: one journey a role, every page checked by axe-core, nothing asked of another host."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.tokens import AckClaim, sign_ack
from incidents.migrate import upgrade
from incidents.queries import IncidentView, posts_of
from incidents.session import Database
from tests.console_city import PEOPLE, people, served, settle
from tests.console_pictures import FOLDER, SHOTS
from tests.console_world import AUDIT_KEY, PASSWORD, World, world

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
AXE = Path(__file__).parent / "vendor" / "axe" / "axe-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
CHECK = """(tags) => axe.run(document, {runOnly: tags, resultTypes: ["violations"]}).then((result) =>
  result.violations.flatMap((one) => one.nodes.map((node) => one.id + ": " + node.target.join(" ") + " " + node.failureSummary)))"""
WIDE, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or shutil.which(CHROMIUM) is None,
    reason="needs playwright and Chromium",
)


@dataclass
class Stage:
    """A served city, a browser, and what the browser asked for and complained about."""

    town: World
    made: dict[str, IncidentView]
    address: str
    browser: Browser
    asked: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def context(self, role: str = "", size: dict[str, int] = WIDE, **more: Any) -> BrowserContext:
        """A browser of its own, logged in as the person of this role."""
        context = self.browser.new_context(viewport=size, **more)  # type: ignore[arg-type]
        context.set_default_timeout(60_000)
        context.on("request", lambda request: self.asked.add("/".join(request.url.split("/")[:3])))
        context.on("console", lambda message: self._hear(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        if role:
            page = context.new_page()
            page.goto(f"{self.address}/login")
            page.fill("[name=login]", PEOPLE[role])
            page.fill("[name=password]", PASSWORD)
            page.click("form button.main")
            page.close()
        return context

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "Refused to" in text:
            self.complaints.append(text)

    def open(self, role: str, path: str = "/", size: dict[str, int] = WIDE, **more: Any) -> Page:
        """A page of somebody of this role."""
        page = self.context(role, size, **more).new_page()
        page.goto(self.address + path)
        return page


@pytest.fixture(scope="module")
def stage(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One city and one browser for all journeys: each test takes an incident of its own."""
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("journeys")
    shutil.copyfile(migrated_sqlite, folder / "city.db")
    db = Database(f"sqlite:///{folder / 'city.db'}", audit_key=AUDIT_KEY)
    upgrade(db.engine)
    town = world(db, folder)
    people(town)
    made = settle(town)
    with served(town) as address, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield Stage(town, made, address, browser)
        browser.close()
    db.close()


def flaws(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA on the page as it is now."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(CHECK, STANDARD)
    return found


def wider_than_the_screen(page: Page) -> int:
    """By how many pixels the page must be scrolled sideways."""
    found: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return max(found, 0)


def test_the_pictures_of_the_docs_are_those_of_the_script_and_small() -> None:
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(files) == {shot[0] for shot in SHOTS}
    assert max(files.values()) < 80_000


def test_axe_is_the_released_file() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256


def test_no_page_breaks_wcag_2_2_aa_or_scrolls_sideways_on_a_phone(stage: Stage) -> None:
    town, case = stage.town, stage.made["canteen"]
    with town.db.reading() as session:
        post = posts_of(session, case.id)[0].id
    token = sign_ack(
        town.keys.links, AckClaim(case.id, case.epoch, 1, "lin-dong", town.now + timedelta(hours=1))
    )
    found: list[str] = []

    def look(page: Page, path: str) -> None:
        answer = page.goto(stage.address + path)
        if answer is None or answer.status >= 500:
            found.append(f"{path} failed")
        found.extend(f"{path} {flaw}" for flaw in flaws(page))
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        if wide := wider_than_the_screen(page):
            found.append(f"{path} is {wide} px wider than a phone")
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]

    seen: set[str] = set()
    for role in ("administrator", "auditor", "supervisor"):
        page = stage.open(role)
        menu = page.eval_on_selector_all("nav a", "nodes => nodes.map((node) => node.getAttribute('href'))")
        for path in menu:
            if path not in seen:
                seen.add(path)
                look(page, path)
    assert len(seen) >= 15
    for path in (
        f"/incidents/{case.number}",
        f"/incidents/{stage.made['fees'].number}",
        f"/incidents/{case.number}/clocks",
        f"/posts/{post}",
        "/search?q=食堂",
        "/search?q=((&lang=zh",
        "/search?kind=incidents",
        "/password",
        "/nowhere",
        f"/a/{token}",
        "/a/broken",
        "/?text=large&theme=dark",
        f"/incidents/{case.number}?text=huge",
        "/?text=normal&theme=auto&lang=en",
        f"/incidents/{case.number}",
    ):
        look(page, path)
    login = stage.open("", "/login", PHONE)
    found += [f"/login {flaw}" for flaw in flaws(login)]
    # every form of the desk unfolded, the list of keys open
    page.goto(stage.address + "/?lang=zh")
    page.eval_on_selector_all("details", "nodes => nodes.forEach((node) => { node.open = true; })")
    found += [f"unfolded {flaw}" for flaw in flaws(page)]
    page.reload()
    page.keyboard.press("?")
    found += [f"keys {flaw}" for flaw in flaws(page)]
    assert not found, f"{len(found)} flaws:\n" + "\n".join(found)


def test_the_duty_officer_hears_of_a_page_and_works_by_keys(stage: Stage) -> None:
    from playwright.sync_api import expect

    page = stage.open("duty")
    expect(page.locator("#live-state")).to_have_attribute("data-how", "live")
    waiting = int(page.locator("#live").get_attribute("data-waiting") or 0)
    assert page.title().startswith(f"({waiting})")
    new = stage.town.incident(
        "地铁口积水齐膝", ["水到膝盖", "有人滑倒"], domain="housing", began=timedelta(hours=1)
    )
    stage.town.run()
    expect(page).to_have_title(re.compile(rf"^\({waiting + 1}\) "))
    row = page.locator(f"#i-{new.id}")
    expect(row).to_be_visible()
    while page.locator(f"#i-{new.id}.chosen").count() == 0:
        page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator(".note.good")).to_contain_text("已确认收到")
    expect(page.locator(f"#i-{new.id}.chosen .acked")).to_contain_text("林东")
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    expect(page.locator(f"#assign-{new.id}")).to_contain_text("交办")
    page.keyboard.press("d")
    form = page.locator(f"#i-{new.id} details[open]")
    expect(form).to_contain_text("建议理由")
    # while a form is open nothing is taken away from under the hand, and letters are letters
    form.locator("textarea").fill("")
    form.locator("textarea").press_sequentially("ajk?")
    expect(form.locator("textarea")).to_have_value("ajk?")
    form.locator("button.main").click()
    expect(page.locator(".note.good")).to_contain_text("已交办")
    # switched off, the keys do nothing
    page.keyboard.press("?")
    page.locator("#keys-on").uncheck()
    page.locator("#keys button").click()
    page.keyboard.press("j")
    assert page.locator(".chosen:not(:target)").count() == 0
    page.context.close()


def test_on_a_phone_without_scripts_one_touch_of_the_thumb_acknowledges(stage: Stage) -> None:
    page = stage.open("duty", size=PHONE, java_script_enabled=False)
    button = page.locator("form.thumb button")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 48
    assert box["y"] > PHONE["height"] * 0.75, "within the thumb's reach"
    assert box["y"] + box["height"] <= PHONE["height"], "without scrolling"
    about = page.locator("form.thumb p").inner_text()
    button.click()
    assert "已确认收到" in page.locator(".note.good").inner_text()
    assert page.locator("form.thumb p").count() == 0 or page.locator("form.thumb p").inner_text() != about
    page.context.close()


def test_the_clerk_signs_and_answers_and_sees_nothing_else(stage: Stage) -> None:
    from playwright.sync_api import expect

    page = stage.open("department")
    expect(page.locator(".row")).to_have_count(1)
    page.click(".row h3 a")
    page.click("#act-sign button")
    expect(page.locator(".note.good")).to_contain_text("已签收")
    page.fill("#f-url", "https://www.jinan.example.invalid/col1/art_401.html")
    page.fill("#f-respond-summary", "公平秤已更换")
    page.click("#act-respond button")
    expect(page.locator("#answers")).to_contain_text("公平秤已更换")
    assert page.goto(f"{stage.address}/incidents/{stage.made['heat'].number}").status == 404  # type: ignore[union-attr]
    page.context.close()


def test_the_supervisor_compares_two_cases_and_answers_on_the_desk(stage: Stage) -> None:
    from playwright.sync_api import expect

    page = stage.open("supervisor")
    page.click("details.asked summary")
    expect(page.locator("details.asked")).to_contain_text("孩子拉肚子两天了")
    page.fill("details.asked input[name=reason]", "不是同一所学校")
    page.click("details.asked button[formaction]")
    expect(page.locator(".note.good")).to_contain_text("不采纳")
    expect(page.locator("details.asked")).to_have_count(0)
    assert page.goto(f"{stage.address}/supervision").status == 200  # type: ignore[union-attr]
    page.context.close()


def test_the_leader_reads_why_takes_the_case_file_and_chooses_a_large_dark_page(stage: Stage) -> None:
    from playwright.sync_api import expect

    page = stage.open("leader", f"/incidents/{stage.made['fees'].number}", color_scheme="light")
    expect(page.locator("#why .lead")).to_contain_text("位作者")
    expect(page.locator("#answers")).to_contain_text("86 分")
    expect(page.locator("#proof")).to_contain_text("均与签名一致")
    with page.expect_download() as file:
        page.locator("#proof a").first.click()
    assert Path(file.value.path()).read_bytes().startswith(b"%PDF-")
    before = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).fontSize]"
    )
    page.click(".look summary")
    page.click(".lookbox a[href*='theme=dark']")
    page.click(".look summary")
    page.click(".lookbox a[href*='text=huge']")
    page.goto(stage.address + "/")
    after = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).fontSize]"
    )
    assert before[0] != after[0], "remembered by a cookie"
    assert float(after[1].removesuffix("px")) >= 24, "18 pt"
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", (
        "paper is white"
    )
    assert page.evaluate("getComputedStyle(document.querySelector('.top nav')).display") == "none"
    page.context.close()


def test_nothing_was_asked_of_another_host_and_no_policy_was_broken(stage: Stage) -> None:
    page = stage.open("duty", f"/incidents/{stage.made['canteen'].number}")
    page.wait_for_selector(".chart canvas")
    assert stage.asked == {stage.address}
    assert stage.complaints == []
