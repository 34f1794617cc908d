"""What a page costs that a browser builds, beside the same page read plainly.

    python -m benchmarks.browser_pages [PAGES]

A loopback site whose list a script builds, with article pages of 30 KB; CPU of the browser's processes and of the crawler, memory at most.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from incidents.store import open_database
from tests.fakes.crawl import crawl, source
from tests.fakes.site import Site, article

SCRIPT = (
    "fetch('/api/list.json').then(r => r.json()).then(l => { document.querySelector('#list').innerHTML = "
    "l.map(x => '<li><a href=\"/a/' + x + '.html\">停水通知第' + x + '号</a></li>').join('') })"
)


class _Heard(logging.Handler):
    """Keeps the line in which the browser's cost stands."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One log line."""
        self.lines.append(record.getMessage())


def main(pages: int = 60) -> None:
    """Crawl with and without a browser, and print both."""
    heard = _Heard()
    logging.getLogger("spiders.browser").addHandler(heard)
    logging.getLogger("spiders.browser").setLevel(logging.INFO)
    folder = Path(tempfile.mkdtemp())
    with Site() as site:
        links = "".join(f'<li><a href="/a/{n}.html">停水通知第{n}号</a></li>' for n in range(pages))
        site.page("/plain", f"<ul>{links}</ul>")
        site.page("/built", '<ul id="list"></ul><script src="/app.js"></script>')
        site.page("/app.js", SCRIPT, kind="text/javascript")
        site.page("/api/list.json", json.dumps(list(range(pages))), kind="application/json")
        for n in range(pages):
            text = "\n".join(
                f"历下区某小区停水{n}，居民多次反映无人处理，第{line}段。" for line in range(300)
            )
            site.page(f"/a/{n}.html", article(f"停水通知第{n}号", text))
        for name in ("plain", "built"):
            more = {"render": "browser", "render_reason": "列表由脚本生成"} if name == "built" else {}
            one = source(name, "column", f"{site.url}/{name}", link_pattern=r"/a/\d+", **more)
            db = open_database(
                f"sqlite:///{folder / name}.db", audit_key=b"a key that signs nothing but tests"
            )
            wall, cpu = time.monotonic(), time.process_time()
            (told,) = crawl(db, one, crawl_limit_s=3000.0).sources
            print(
                f"{name}: {told.new_posts} posts, {told.state}; crawler {(time.process_time() - cpu) / (pages + 1) * 1000:.0f} ms CPU "
                f"a page, {(time.monotonic() - wall) / (pages + 1):.2f} s wall a page"
            )
            db.close()
    print("\n".join(heard.lines))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
