"""Receipts of what was handed over: which file or push was taken already, what became of it, what is still to be filed.

A receipt is written after the rows it speaks of, so a crash in between costs nothing: the file is read again, and its rows are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from incidents.dialect import insert_into
from incidents.models import IntakeReceipt, JsonDict


@dataclass(frozen=True)
class Receipt:
    """One file or push. `rows` = `saved` + `known` + `aside`, and rows that were objected to."""

    source_id: str
    digest: str
    name: str
    received_at: datetime
    rows: int = 0
    saved: int = 0
    known: int = 0
    aside: int = 0
    report: JsonDict | None = None
    filed_at: datetime | None = None


def write_receipt(session: Session, receipt: Receipt) -> bool:
    """Keep a receipt; False when one of this digest is there already, which then stays as it is."""
    statement = (
        insert_into(session, IntakeReceipt)
        .values(
            source_id=receipt.source_id,
            digest=receipt.digest,
            name=receipt.name,
            received_at=receipt.received_at,
            rows=receipt.rows,
            saved=receipt.saved,
            known=receipt.known,
            aside=receipt.aside,
            report=receipt.report or {},
            filed_at=receipt.filed_at,
        )
        .on_conflict_do_nothing(index_elements=["source_id", "digest"])
        .returning(IntakeReceipt.id)
    )
    return session.scalar(statement) is not None


def find_receipt(session: Session, source_id: str, digest: str) -> Receipt | None:
    """What became of this file or push, if it was taken."""
    row = session.scalar(
        select(IntakeReceipt).where(IntakeReceipt.source_id == source_id, IntakeReceipt.digest == digest)
    )
    return _view(row) if row is not None else None


def mark_filed(session: Session, source_id: str, digest: str, now: datetime) -> None:
    """The file was moved away."""
    session.execute(
        update(IntakeReceipt)
        .where(IntakeReceipt.source_id == source_id, IntakeReceipt.digest == digest)
        .values(filed_at=now)
    )


def take_unfiled(session: Session, source_id: str, now: datetime) -> Sequence[Receipt]:
    """Pushes that no look has counted yet, the oldest first; they are counted now."""
    rows = list(
        session.scalars(
            select(IntakeReceipt)
            .where(IntakeReceipt.source_id == source_id, IntakeReceipt.filed_at.is_(None))
            .order_by(IntakeReceipt.id)
            .with_for_update()
        )
    )
    found = [_view(row) for row in rows]
    for row in rows:
        row.filed_at = now
    session.flush()
    return found


def forget_receipts(session: Session, source_id: str, before: datetime) -> int:
    """Drop counted receipts of pushes that are older: beyond the replay window their timestamp alone refuses them."""
    dropped = delete(IntakeReceipt).where(
        IntakeReceipt.source_id == source_id,
        IntakeReceipt.received_at < before,
        IntakeReceipt.filed_at.is_not(None),
    )
    return len(list(session.scalars(dropped.returning(IntakeReceipt.id))))


def _view(row: IntakeReceipt) -> Receipt:
    return Receipt(
        row.source_id,
        row.digest,
        row.name,
        row.received_at,
        row.rows,
        row.saved,
        row.known,
        row.aside,
        dict(row.report),
        row.filed_at,
    )
