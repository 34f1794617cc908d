"""The models of an installation: in force, taken back, damaged, half written, two trainings at once."""

from __future__ import annotations

import io
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import model_store
from analysis.judge import Judge, Thresholds
from analysis.linear import MODEL, LinearModel
from analysis.model_store import FORMER_KEPT, POINTER, ModelStore, finding, in_force, token
from incidents.installation import Problem

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def variant(**meta: Any) -> bytes:
    """The shipped model under another name, quickly packed."""
    with np.load(io.BytesIO(lzma.decompress(MODEL.read_bytes()))) as pack:
        arrays = {name: pack[name] for name in pack.files}
    known = json.loads(str(arrays["meta"][0]))
    arrays["meta"] = np.array([json.dumps({**known, **meta}, ensure_ascii=False)])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return lzma.compress(buffer.getvalue(), preset=0)


@pytest.fixture(scope="module")
def packed() -> bytes:
    return variant(version="posts-9-city1")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models" / "posts")


def put(store: ModelStore, packed: bytes, version: str) -> model_store.Stored:
    stored = store.put(packed, version=version, base="posts-9", now=NOW, figures={})
    store.use(stored)
    return stored


def test_without_a_model_of_its_own_the_shipped_one_judges(store: ModelStore) -> None:
    here = in_force(store.folder)
    assert (here.path, here.stored, here.trouble) == (MODEL, None, "")
    assert finding(store.folder)[0] == "ok"


def test_an_installed_model_judges_and_brings_its_offsets(store: ModelStore) -> None:
    figures = LinearModel.load().figures
    figures = {**figures, "tone": {**figures["tone"], "offsets": {"neg": 3.0, "neu": 0.0, "pos": 0.0}}}
    put(store, variant(version="posts-9-city1", figures=figures), "posts-9-city1")
    judge = Judge.load(models=store.folder)
    assert judge.version.startswith("posts-9-city1+")
    assert judge.thresholds.offsets["tone"]["neg"] == 3.0
    assert judge.thresholds.unsure == Thresholds.load().unsure


def test_names_are_never_given_twice(store: ModelStore, packed: bytes) -> None:
    assert store.next_version("posts-9") == "posts-9-city1"
    put(store, packed, store.next_version("posts-9"))
    store.rollback()
    assert store.next_version("posts-9") == "posts-9-city2"
    assert store.next_version("posts-9-city7") == "posts-9-city2"


def test_going_back_leads_to_the_former_one_and_then_to_the_shipped(store: ModelStore, packed: bytes) -> None:
    put(store, packed, "posts-9-city1")
    put(store, packed, "posts-9-city2")
    gone, left = store.rollback()
    assert gone.version == "posts-9-city2"
    assert left is not None
    assert left.version == "posts-9-city1"
    assert in_force(store.folder).stored == left
    assert store.rollback()[1] is None
    assert in_force(store.folder).path == MODEL
    with pytest.raises(Problem, match="nothing to go back from"):
        store.rollback()


def test_the_last_five_former_ones_stand_ready(store: ModelStore) -> None:
    for number in range(1, FORMER_KEPT + 4):
        put(store, b"model %d" % number, f"posts-9-city{number}")
    assert [m.version for m in store.listed()] == [f"posts-9-city{n}" for n in range(3, 9)]
    assert len(list(store.folder.glob("*.npz.xz"))) == FORMER_KEPT + 1


def test_a_crash_before_the_list_is_replaced_leaves_the_former_one(
    store: ModelStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, packed, "posts-9-city1")
    stored = store.put(packed, version="posts-9-city2", base="posts-9", now=NOW, figures={})

    def die(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            store.use(stored)
    assert [m.version for m in store.listed()] == ["posts-9-city1"]
    assert not list(store.folder.glob(".*")), "no half file stays"
    assert store.next_version("posts-9") == "posts-9-city3"
    put(store, packed, "posts-9-city3")
    assert not (store.folder / "posts-9-city2.npz.xz").exists(), "what no list names is cleared away"


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "list", "features"])
def test_a_damaged_model_does_not_judge_and_the_doctor_says_so(
    store: ModelStore, packed: bytes, damage: str
) -> None:
    if damage == "features":
        packed = variant(version="posts-9-city1", features_version=-1)
    stored = put(store, packed, "posts-9-city1")
    path = store.folder / stored.file
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(packed[:1000])
        case "other":
            path.write_bytes(packed + b"\0")
        case "list":
            (store.folder / POINTER).write_text("{")
    here = in_force(store.folder)
    assert here.path == MODEL
    assert here.trouble
    level, text = finding(store.folder)
    assert level == "warning"
    assert "shipped model" in text
    assert "train" in text


def test_a_model_made_from_an_older_one_is_told(store: ModelStore, packed: bytes) -> None:
    put(store, packed, "posts-9-city1")
    level, text = finding(store.folder)
    assert level == "warning"
    assert "older model" in text


def test_only_one_training_at_a_time(store: ModelStore) -> None:
    with (
        store.lock(),
        pytest.raises(Problem, match="another `quansheng train`"),
        ModelStore(store.folder).lock(),
    ):
        pass
    with store.lock():
        pass


def test_another_model_is_noticed_by_a_stat(store: ModelStore, packed: bytes) -> None:
    assert token(None) is None
    before = token(store.folder)
    put(store, packed, "posts-9-city1")
    between = token(store.folder)
    store.rollback()
    assert len({before, between, token(store.folder)}) == 3
