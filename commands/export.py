"""`quansheng export`: the de-identified copy as a SQLite file, with its description for Datasette beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from incidents import lifecycle, snapshot
from incidents.installation import Installation, Problem


@dataclass(frozen=True)
class Exported:
    """What was written: the file, rows by table, and the description of a file that leaves the house."""

    file: Path
    rows: dict[str, int]
    metadata: Path | None


def write(home: Installation, file: Path | None, actor: str, now: datetime) -> Exported:
    """Write the copy; without `file` anew where the console asks it. The export stands in the record."""
    target = file or home.settings.data_path / snapshot.NAME
    if target.is_dir():
        raise Problem(f"{target}: a folder; name a file")
    if target.exists() and snapshot.made_at(target) is None:
        raise Problem(f"{target}: exists and is no copy of ours; name another file or move it away")
    metadata = None
    try:
        with home.db.reading() as session:
            rows = snapshot.write(session, home.bundle, target, now)
        if file is not None:
            metadata = target.with_name(f"{target.stem}-metadata.json")
            metadata.write_text(
                json.dumps(described(home, target, now), ensure_ascii=False, indent=1), "utf-8"
            )
    except OSError as exc:
        raise Problem(f"{target}: cannot be written: {exc}; make room or give another path") from exc
    with home.db.transaction() as session:
        lifecycle.record_act(
            session,
            "exported",
            {"kind": "deidentified", "file": target.name, "posts": rows["post"]},
            actor=actor,
            channel="cli",
            now=now,
        )
    return Exported(target, rows, metadata)


def described(home: Installation, file: Path, now: datetime) -> dict[str, Any]:
    """Tables and columns in the form that Datasette reads."""
    return {
        "title": f"泉声 Quansheng: {home.settings.city.name}",
        "description": f"De-identified copy of {now:%Y-%m-%d}: no texts, authors or addresses.",
        "databases": {
            file.stem: {
                "tables": {
                    table: {
                        "description": meaning,
                        "columns": {name: words for name, (_, words) in columns.items() if words},
                    }
                    for table, (meaning, columns) in snapshot.SCHEMA.items()
                }
            }
        },
    }
