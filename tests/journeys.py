"""The console in a real Chromium: one journey a role, every page checked by axe-core, nothing asked of another host."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyotp
import pytest

from config.tokens import AckClaim, sign_ack
from incidents import accounts
from incidents.migrate import upgrade
from incidents.queries import posts_of
from incidents.session import Database
from reports.public import build_public, files
from tests.console_city import DECEMBER, PEOPLE, papers, people, served, settle
from tests.console_pictures import FOLDER, SHOTS
from tests.console_stage import CHROMIUM, LAPTOP, PHONE, SETTLED, WAIT_MS, WIDE, Stage, StepTooLong
from tests.console_world import AUDIT_KEY, PASSWORD, world

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parent / "vendor" / "axe" / "axe-4.14.1.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
STANDARD = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
CHECK = """(only) => axe.run(document, {runOnly: only, resultTypes: ["violations"]}).then((result) =>
  result.violations.flatMap((one) => one.nodes.map((node) => one.id + ": " + node.target.join(" ") + " " + node.failureSummary)))"""
#: what a finger must hit and is lower or narrower than 24 px; links within a sentence are as high as its line
SMALL = """() => Array.from(document.querySelectorAll("a[href], button, select, textarea, summary, input:not([type=hidden])"))
  .filter((node) => {
    const box = node.getBoundingClientRect();
    if (!node.checkVisibility({ visibilityProperty: true }) || box.width < 2 || box.right < 0 || box.bottom < 0) return false;
    if (node.closest(".visually-hidden, svg")) return false;
    const label = node.type === "checkbox" || node.type === "radio" ? node.closest("label, .tick") : null;
    const area = label ? label.getBoundingClientRect() : box;
    if (area.width >= 23.9 && area.height >= 23.9) return false;
    const sentence = Array.from(node.parentNode.childNodes)
      .some((one) => one.nodeType === 3 && one.textContent.trim().length > 1);
    return !(node.tagName === "A" && getComputedStyle(node).display === "inline" && sentence);
  })
  .map((node) => "small: <" + node.tagName.toLowerCase() + " class='" + node.className + "'> in " + (node.parentNode.className || node.parentNode.tagName)
    + " “" + (node.textContent || node.name || "").trim().slice(0, 30) + "” " + Math.round(node.getBoundingClientRect().width) + "×" + Math.round(node.getBoundingClientRect().height))"""
#: what reaches beyond the right edge, to find the culprit
WIDEST = """() => Array.from(document.querySelectorAll("main *, header *")).filter((node) =>
    node.getBoundingClientRect().right > window.innerWidth + 1 && !node.closest(".scroll, .steps, .tabs, nav"))
  .slice(0, 4).map((node) => node.tagName.toLowerCase() + "." + node.className)"""
#: beside the pages of the menus: who opens them, and where
MORE: dict[str, tuple[str, ...]] = {
    "supervisor": (
        "/incidents/{canteen}",
        "/incidents/{fees}",
        "/incidents/{canteen}/clocks",
        "/incidents/QS-2026-999999",
        "/posts/{post}",
        "/search?q=食堂",
        "/search?q=((&lang=zh",
        "/search?kind=incidents&q=食堂",
        "/search/compare?q=食堂&q=供热",
        "/search/sample?q=食堂",
        "/searches",
        "/accountability/letters/1",
        "/evaluation",
        "/account",
        "/password",
        "/nowhere",
        "/a/{link}",
        "/a/broken",
        "/?lang=en",
        "/incidents/{fees}?lang=en",
        "/evaluation?lang=en",
        "/accountability?lang=en",
        "/accountability/letters/1?lang=en",
    ),
    "leader": ("/accountability/public/2026-11", "/unmask", "/reports/2026-W47/weekly.html"),
    "analyst": ("/api/docs", "/sql", "/tokens", "/backtest"),
    "department": ("/accountability", "/"),
    "administrator": ("/system",),
    "auditor": (),
}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or shutil.which(CHROMIUM) is None,
    reason="needs playwright and Chromium",
)


@pytest.fixture(scope="module")
def stage(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One city and one browser for all journeys: each test takes an incident of its own."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    folder = tmp_path_factory.mktemp("journeys")
    shutil.copyfile(migrated_sqlite, folder / "city.db")
    db = Database(f"sqlite:///{folder / 'city.db'}", audit_key=AUDIT_KEY)
    upgrade(db.engine)
    town = world(db, folder)
    people(town)
    made = settle(town)
    papers(town, made)
    with served(town) as address, sync_playwright() as play:
        stage = Stage(town, made, address, play)
        try:
            yield stage
        finally:
            stage.close()
            slow = sorted(stage.steps.times, key=lambda one: -one[1])[:5]
            print("\nlongest steps: " + "; ".join(f"{name} {took:.1f} s" for name, took in slow))  # noqa: T201 (told when a run was slow)
    db.close()


def flaws(page: Page, *rules: str) -> list[str]:
    """What axe finds on the page as it is now: against WCAG 2.2 A and AA, or by some rules only."""
    if not page.evaluate("!!window.axe"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(CHECK, {"type": "rule", "values": rules} if rules else STANDARD)
    return found


def wider_than_the_screen(page: Page) -> int:
    """By how many pixels the page must be scrolled sideways, once charts have taken their new size."""
    page.evaluate(SETTLED)
    found: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return max(found, 0)


def all_flaws(stage: Stage, page: Page, path: str) -> list[str]:
    """One page in all its looks: light, dark, very large text, and on a phone; what is wrong with it.

    Look and theme are attributes of the page that only style sheets read (a journey chooses them as people do), so
    each page is loaded once.
    """
    found: list[str] = []

    def note(how: str, several: list[str]) -> None:
        found.extend(f"{path} {how}: {one}" for one in several)

    with stage.steps.step(path):
        if path:
            answer = page.goto(stage.address + path)
            if answer is None or answer.status >= 500:
                return [f"{path} failed"]
        if page.locator("#swagger").count():
            page.wait_for_selector("#swagger .opblock")
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        note("light", flaws(page))
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        note("dark", flaws(page, "color-contrast"))
        page.evaluate("document.documentElement.dataset.text = 'huge'")
        note("huge", flaws(page))
        for text in ("huge", "normal"):
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]
            page.evaluate("(text) => { document.documentElement.dataset.text = text; }", text)
            if wide := wider_than_the_screen(page):
                widest: list[str] = page.evaluate(WIDEST)
                note(f"phone, {text}", [f"{wide} px wider than the screen: {', '.join(widest)}"])
        note("phone", [*flaws(page, "target-size"), *page.evaluate(SMALL)])
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    return found


def test_the_pictures_of_the_docs_are_those_of_the_script_and_small() -> None:
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(files) == {shot[0] for shot in SHOTS}
    assert max(files.values()) < 80_000


def test_axe_is_the_released_file() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256


def test_a_step_that_never_ends_is_ended_and_named(stage: Stage) -> None:
    with (
        pytest.raises(StepTooLong, match=r"wait for nothing.*did not end within 1 s"),
        stage.open("", "/login") as page,
        stage.steps.step("wait for nothing", 1),
    ):
        page.evaluate("() => new Promise(() => {})")
    with stage.open("", "/login") as page:
        assert page.locator("form").count() == 1, "the journeys go on in another browser"


@pytest.mark.parametrize("role", MORE)
def test_no_page_breaks_wcag_2_2_aa_scrolls_sideways_on_a_phone_or_is_hard_to_touch(
    stage: Stage, role: str
) -> None:
    case = stage.made["canteen"]
    with stage.town.db.reading() as session:
        post = posts_of(session, case.id)[0].id
    claim = AckClaim(case.id, case.epoch, 1, "lin-dong", stage.town.now + timedelta(hours=1))
    names = {name: view.number for name, view in stage.made.items()}
    names |= {"post": str(post), "link": sign_ack(stage.town.keys.links, claim)}
    found: list[str] = []
    with stage.open(role) as page:
        menu: list[str] = page.eval_on_selector_all(
            "nav a", "nodes => nodes.map((node) => node.getAttribute('href'))"
        )
        seen = [path for path in menu if path not in stage.seen]
        stage.seen.update(seen)
        for path in (*seen, *(one.format(**names) for one in MORE[role])):
            found += all_flaws(stage, page, path)
        # every form of the desk unfolded, the list of keys open
        if role == "supervisor":
            page.goto(stage.address + "/?lang=zh")
            page.eval_on_selector_all("details", "nodes => nodes.forEach((node) => { node.open = true; })")
            found += [f"unfolded {flaw}" for flaw in flaws(page)]
            page.reload()
            page.keyboard.press("?")
            found += [f"keys {flaw}" for flaw in flaws(page)]
    assert not found, f"{len(found)} flaws:\n" + "\n".join(found)


@pytest.mark.parametrize("role", PEOPLE)
def test_the_menu_is_one_row_and_opens_by_keys_and_without_scripts(stage: Stage, role: str) -> None:
    with stage.open(role, "/rules", LAPTOP, java_script_enabled=False) as page:
        for lang in ("zh", "en"):
            page.goto(f"{stage.address}/rules?lang={lang}")
            heights = [one.bounding_box() for one in page.locator(".top nav > ul > li").all()]
            assert len({round(box["y"]) for box in heights if box}) == 1, f"{role} {lang}: more than one row"
        group = page.locator(".top nav details").last
        assert not group.locator("a").first.is_visible()
        group.locator("summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/accounts" if role == "administrator" else "**/rules")
        assert page.locator("[aria-current=page]").count() == 1
    with stage.open(role, "/rules?text=huge&lang=en", LAPTOP) as page:
        assert wider_than_the_screen(page) == 0
        page.locator(".top nav summary").last.click()
        assert wider_than_the_screen(page) == 0
        page.keyboard.press("Escape")
        assert page.locator(".top nav details[open]").count() == 0


def test_the_way_in_is_accessible_too(stage: Stage) -> None:
    """Login, one-time code, setting up a telephone, recovery codes, a new password."""
    login = PEOPLE["analyst"]
    found: list[str] = []

    def press(page: Page, then: str, **typed: str) -> None:
        for name, text in typed.items():
            page.fill(f"[name={name}]", text)
        page.click("main form button.main, form.panel button.main")
        page.wait_for_selector(then)

    try:
        with stage.open("", "/login") as page:
            found += all_flaws(stage, page, "/login")
            press(page, ".note.bad", login=login, password="wrong")
            found += all_flaws(stage, page, "")
            press(page, "nav", password=PASSWORD)
            found += all_flaws(stage, page, "/account/codes")
            secret = page.locator("b.mono").first.inner_text().replace(" ", "")
            press(page, "ul.codes", code=pyotp.TOTP(secret).at(stage.town.now))
            found += [f"recovery codes{one}" for one in all_flaws(stage, page, "")]
            found += all_flaws(stage, page, "/account")
        with stage.open("", "/login") as page:
            press(page, "[name=code]", login=login, password=PASSWORD)
            found += all_flaws(stage, page, "")
            press(page, ".note.bad", code="000000")
            found += all_flaws(stage, page, "")
    finally:
        with stage.town.db.transaction() as session:
            account = accounts.get_by_login(session, login)
            assert account is not None
            accounts.set_totp(session, account.id, "", on=False)
    assert not found, f"{len(found)} flaws:\n" + "\n".join(found)


def test_the_public_edition_is_accessible_and_fits_a_phone(stage: Stage) -> None:
    with stage.town.db.reading() as session:
        edition = files(build_public(session, stage.town.bundle, "2026-11", DECEMBER))
    found: list[str] = []
    for name in ("index.html", "index.en.html"):
        # of no address: the console's policy forbids the style sheet that the file carries with it
        with stage.context("", PHONE) as context, stage.steps.step(name):
            page = context.new_page()
            page.set_content(edition[name].decode())
            found += [f"{name} {flaw}" for flaw in flaws(page)]
            if wide := wider_than_the_screen(page):
                found.append(f"{name} is {wide} px wider than a phone")
    assert not found, "\n".join(found)


def test_the_duty_officer_hears_of_a_page_and_works_by_keys(stage: Stage) -> None:
    from playwright.sync_api import expect

    with stage.open("", "/login") as page:
        page.fill("[name=login]", PEOPLE["duty"])
        page.fill("[name=password]", PASSWORD)
        page.click("form button.main")
        page.wait_for_url(f"{stage.address}/")
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
        for _ in range(page.locator(".row[id]").count()):
            page.keyboard.press("j")
            if page.locator(f"#i-{new.id}.chosen").count():
                break
        expect(page.locator(f"#i-{new.id}.chosen")).to_be_visible()
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


def test_on_a_phone_without_scripts_one_touch_of_the_thumb_acknowledges(stage: Stage) -> None:
    with stage.open("duty", size=PHONE, java_script_enabled=False) as page:
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


def test_the_clerk_signs_and_answers_and_sees_nothing_else(stage: Stage) -> None:
    from playwright.sync_api import expect

    with stage.open("department") as page:
        expect(page.locator(".row")).to_have_count(1)
        page.click(".row h3 a")
        page.click("#act-sign button")
        expect(page.locator(".note.good")).to_contain_text("已签收")
        page.fill("#f-url", "https://www.jinan.example.invalid/col1/art_401.html")
        page.fill("#f-respond-summary", "公平秤已更换")
        page.click("#act-respond button")
        expect(page.locator("#answers")).to_contain_text("公平秤已更换")
        assert page.goto(f"{stage.address}/incidents/{stage.made['heat'].number}").status == 404  # type: ignore[union-attr]


def test_the_supervisor_compares_two_cases_and_answers_on_the_desk(stage: Stage) -> None:
    from playwright.sync_api import expect

    with stage.open("supervisor") as page:
        page.click("details.asked summary")
        expect(page.locator("details.asked")).to_contain_text("孩子拉肚子两天了")
        page.fill("details.asked input[name=reason]", "不是同一所学校")
        page.click("details.asked button[formaction]")
        expect(page.locator(".note.good")).to_contain_text("不采纳")
        expect(page.locator("details.asked")).to_have_count(0)
        assert page.goto(f"{stage.address}/supervision").status == 200  # type: ignore[union-attr]


def test_the_leader_reads_why_takes_the_case_file_and_chooses_a_large_dark_page(stage: Stage) -> None:
    from playwright.sync_api import expect

    with stage.open("leader", f"/incidents/{stage.made['fees'].number}", color_scheme="light") as page:
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


def test_nothing_was_asked_of_another_host_and_no_policy_was_broken(stage: Stage) -> None:
    with stage.open("duty", f"/incidents/{stage.made['canteen'].number}") as page:
        page.wait_for_selector(".chart canvas")
        assert stage.asked == {stage.address}
        assert stage.complaints == []
