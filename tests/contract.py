"""The HTTP API against its own description: schemathesis asks what OpenAPI allows, and what it does not, and every answer is checked.

`python -m tests.contract [--examples 200] [--seed 1]` is the deep run; the suite does a short one. Invented data, in this process, no network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core import NotSet

from console.api.problems import MEDIA_TYPE
from console.views.apidocs import description
from incidents import queries, report_runs, snapshot
from incidents.migrate import upgrade
from incidents.session import Database
from tests.console_world import AUDIT_KEY, NOW, World, _InProcess, jinan, world
from tests.test_api import token

#: what may be answered; anything else is a finding
EXPECTED = frozenset({200, 304, 400, 401, 403, 404, 405, 413, 422, 429})


@dataclass
class Findings:
    """How many requests were made, how they were answered, and what was wrong."""

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


def city(db: Database, folder: Path) -> World:
    """A world in which every operation has something to answer."""
    limits = jinan().settings.api.model_copy(update={"sql": True, "per_minute": 100_000, "sql_seconds": 2.0})
    town = world(db, folder, api=limits)
    town.account("wen", "analyst")
    for number in range(3):
        town.incident(f"第{number}件事", ["食堂停水", "食堂又来了"], copies=1)
    town.sources()
    town.run()
    with db.transaction() as session:
        report_runs.save_run(session, report="weekly", period="2026-W47", digest="d", model={"n": 1}, now=NOW)
    with db.reading() as session:
        snapshot.write(session, town.bundle, town.bundle.settings.data_path / snapshot.NAME, NOW)
    return town


def run(town: World, *, examples: int, seed_: int, sql: bool = True) -> Findings:
    """Ask every operation `examples` times with allowed and with broken values. The same seed asks the same."""
    app = town.app()
    asking = httpx.Client(
        transport=_InProcess(app),
        base_url="http://console.test",
        headers={"Authorization": f"Bearer {token(town)}"},
    )
    found = Findings()
    schema = schemathesis.openapi.from_dict(_told(town, description(app)))
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # an Err raises what is wrong with the description
        if not sql and operation.path == "/api/sql":
            continue
        found.operations.add(f"{operation.method.upper()} {operation.path}")
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except schemathesis.errors.SchemathesisError:
                continue  # nothing can be broken about an operation without values

            _play(asking, strategy, found, examples, seed_)
    return found


def _play(asking: httpx.Client, strategy: Any, found: Findings, examples: int, seed_: int) -> None:
    @seed(seed_)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: Any) -> None:
        _ask(asking, case, found)

    ask()


def _told(town: World, document: dict[str, Any]) -> dict[str, Any]:
    """The description with the names of this world, so that not every question ends at 404."""
    told: dict[str, Any] = json.loads(json.dumps(document))
    with town.db.reading() as session:
        numbers = [row.number for row in queries.list_incidents(session)]
    names = {
        "number": numbers,
        "source_id": [source.id for source in town.bundle.sources],
        "report": ["weekly"],
        "period": ["2026-W47"],
    }
    for operations in told["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
    return told


def _ask(asking: httpx.Client, case: Any, found: Findings) -> None:
    path = case.formatted_path
    if not path.startswith("/api/"):
        return
    query = {name: "" if value is None else value for name, value in dict(case.query or {}).items()}
    try:
        address = path + (f"?{urlencode(query, doseq=True, errors='surrogatepass')}" if query else "")
    except (TypeError, UnicodeError):
        return
    body = None if isinstance(case.body, NotSet) else case.body
    raw: dict[str, Any] = {}
    if isinstance(body, bytes):
        raw = {"content": body, "headers": {"Content-Type": "application/json"}}
    elif body is not None:
        raw = {"json": body}
    try:
        answer = asking.request(case.method.upper(), address, **raw)
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError):
        return  # no client could send this
    found.requests += 1
    found.by_status[answer.status_code] += 1
    told = f"{case.method.upper()} {address[:300]} {body!r:.200} -> {answer.status_code} {answer.text[:200]}"
    if answer.status_code not in EXPECTED:
        found.wrong.append(told)
    elif answer.status_code >= 400 and answer.headers["content-type"] != MEDIA_TYPE:
        found.wrong.append(f"no problem details: {told}")
    elif answer.status_code == 422 and not answer.json().get("errors"):
        found.wrong.append(f"does not say where: {told}")
    elif answer.status_code == 200:
        try:
            case.operation.validate_response(answer)
        except Exception as broken:  # noqa: BLE001 (whatever it is, it is a finding)
            found.wrong.append(f"not as described ({str(broken)[:300]}): {told}")


def main() -> None:
    """The deep run: prints what was asked and found; exit 1 on any finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = Database(f"sqlite:///{Path(folder) / 'contract.db'}", audit_key=AUDIT_KEY)
        upgrade(db.engine)
        found = run(city(db, Path(folder)), examples=chosen.examples, seed_=chosen.seed)
        db.close()
    answers = ", ".join(f"{status}: {number}" for status, number in sorted(found.by_status.items()))
    sys.stdout.write(
        f"{found.requests} requests to {len(found.operations)} operations, seed {chosen.seed}: {answers}\n"
    )
    for one in found.wrong[:50]:
        sys.stdout.write(f"{one}\n")
    sys.stdout.write(f"{len(found.wrong)} findings\n")
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
