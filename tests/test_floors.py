"""Who may import whom. A broken floor fails here with file, line and the import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = {
    "config": 0,
    "heap": 0,
    "incidents": 1,
    "spiders": 2,
    "analysis": 2,
    "alerts": 2,
    "reports": 3,
    "console": 3,
    "backtest": 3,
    # the top floor F4 has an order of its own
    "scheduler": 4,
    "replay": 5,
    "demo": 5,
    "commands": 5,
    "cli": 6,
}
#: library -> rooms (or single files) that may import it
FENCES = {
    "scrapy": ("spiders",),
    "twisted": ("spiders",),
    "snownlp": ("analysis",),
    "slack_sdk": ("alerts/slack.py", "alerts/slack_actions.py", "alerts/slack_socket.py"),
    "apscheduler": ("scheduler.py",),
    "fastapi": ("console", "demo"),
    "starlette": ("console", "demo"),
    "uvicorn": ("console", "demo", "scheduler.py", "cli.py"),
    "sqlalchemy": ("incidents",),
    "alembic": ("incidents",),
    "matplotlib": ("reports",),
}


def sources() -> Iterator[Path]:
    for room in FLOORS:
        folder, module = ROOT / room, ROOT / f"{room}.py"
        if folder.is_dir():
            yield from sorted(folder.rglob("*.py"))
        elif module.is_file():
            yield module


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_a_room_imports_only_from_lower_floors_and_itself() -> None:
    broken = []
    seen = 0
    for path in sources():
        here = room_of(path)
        for line, name in imports(path):
            there = name.split(".")[0]
            if there in FLOORS and there != here:
                seen += 1
                if FLOORS[there] >= FLOORS[here]:
                    broken.append(
                        f"{path.relative_to(ROOT)}:{line}: {here} (F{FLOORS[here]}) imports {name} (F{FLOORS[there]})"
                    )
    assert not broken, "\n".join(broken)
    assert seen > 50, "the walk found hardly any import: is the list of rooms right?"


def test_a_library_stays_behind_its_fence() -> None:
    broken = []
    for path in sources():
        here = path.relative_to(ROOT).as_posix()
        for line, name in imports(path):
            allowed = FENCES.get(name.split(".")[0])
            if allowed is not None and not any(
                here == fence or here.startswith(f"{fence}/") for fence in allowed
            ):
                broken.append(f"{here}:{line}: {name} belongs in {', '.join(allowed)}")
    assert not broken, "\n".join(broken)


#: the borders at which an instant may be taken from the machine and handed down
CLOCK_READERS = ("cli.py", "scheduler.py", "replay.py", "demo/")


def test_no_stage_reads_the_clock() -> None:
    broken = []
    for path in sources():
        here = path.relative_to(ROOT).as_posix()
        if here.startswith(CLOCK_READERS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("now", "utcnow", "today")
            ):
                owner = ast.unparse(node.func.value)
                if owner.split(".")[-1] in ("datetime", "date"):
                    broken.append(f"{here}:{node.lineno}: {ast.unparse(node)}: take `now` as an argument")
    assert not broken, "\n".join(broken)


def test_sql_is_spoken_in_one_room_only() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: opens sqlite3 itself"
        for path in sources()
        if room_of(path) != "incidents"
        for _, name in imports(path)
        if name.split(".")[0] in ("sqlite3", "psycopg")
    ]
    assert not broken, "\n".join(broken)
