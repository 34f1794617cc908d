"""Takes the pictures of docs/screenshots from an invented city: `python -m tests.console_pictures [FOLDER]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from incidents.migrate import upgrade
from incidents.session import Database
from tests.console_city import people, served, settle
from tests.console_stage import LAPTOP, PHONE, WIDE, Stage
from tests.console_world import AUDIT_KEY, world

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
#: name, role, address, window, colours, which part
SHOTS: tuple[tuple[str, str, str, dict[str, int], str, str], ...] = (
    ("desk", "duty", "/?lang=zh", WIDE, "light", ""),
    ("desk-en", "duty", "/?lang=en", WIDE, "light", ""),
    ("desk-phone", "duty", "/?lang=zh", PHONE, "light", ""),
    ("desk-night", "duty", "/?lang=zh&theme=dark", PHONE, "dark", ""),
    ("desk-large", "duty", "/?lang=zh&theme=auto&text=huge", WIDE, "light", ""),
    ("menu", "supervisor", "/?lang=zh&text=normal", LAPTOP, "light", ".top nav details"),
    ("keys", "duty", "/?lang=zh&text=normal", WIDE, "light", "?"),
    ("merge", "supervisor", "/?lang=zh", WIDE, "light", "details.asked"),
    ("incident", "duty", "/incidents/{case}?lang=zh", WIDE, "light", ""),
    ("incident-phone", "duty", "/incidents/{case}?lang=zh", PHONE, "light", ""),
    ("places", "duty", "/incidents/{case}?lang=zh", WIDE, "light", "#places"),
    ("answers", "leader", "/incidents/{told}?lang=zh", WIDE, "light", "#answers"),
    ("clerk", "department", "/?lang=zh", WIDE, "light", ""),
)
#: colours of a picture; pages of few colours lose nothing one can see
COLOURS = 64


def shrink(path: Path) -> None:
    """Write the picture with a palette: a quarter of its size."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(folder: Path) -> None:
    """All pictures into `folder`."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        db = Database(f"sqlite:///{home / 'city.db'}", audit_key=AUDIT_KEY)
        upgrade(db.engine)
        town = world(db, home)
        people(town)
        made = settle(town)
        numbers = {"case": made["canteen"].number, "told": made["fees"].number}
        with served(town) as address, sync_playwright() as play:
            stage = Stage(town, made, address, play)
            for name, role, path, size, colours, part in SHOTS:
                with stage.open(role, path.format(**numbers), size, color_scheme=colours) as page:
                    page.wait_for_load_state("load")
                    if part == "?":
                        page.keyboard.press("?")
                    elif "details" in part:
                        page.locator(f"{part} summary").first.click()
                    if part not in ("", "?"):
                        page.locator(part).first.scroll_into_view_if_needed()
                    page.screenshot(path=folder / f"{name}.png")
                    shrink(folder / f"{name}.png")
            stage.close()
        db.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
