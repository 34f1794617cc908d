"""模型: which model judges, how good it is by which measure, its thresholds, what people corrected, and what came of earlier models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from console.context import Forbidden, Visit, member
from console.render import page
from console.views.backtest import READERS
from incidents import labels, queries
from incidents.proportions import wilson
from incidents.trouble import Problem

router = APIRouter(include_in_schema=False)
#: corrections after which a refit is worth while (commands.train needs as many)
ENOUGH = 20
CONFUSIONS = 12


@router.get("/model")
def model_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """Figures, thresholds, corrections that wait for the next training, and former models."""
    # loads the models' numbers: not wanted by a console that nobody asks
    from analysis import figures
    from analysis.judge import Thresholds
    from analysis.linear import TASKS
    from analysis.model_store import ModelStore, folder_of, in_force

    if here.account.role not in READERS:
        raise Forbidden("您的角色不能查看模型页。")
    settings = here.console.bundle.settings
    folder = folder_of(settings.data_path)
    held = in_force(folder)
    limits = Thresholds.load().with_fast(settings.analysis.fast).of(held.model)
    with here.console.db.reading() as session:
        said = labels.verdicts(session)
        acts = queries.latest_events(session, 20, ("model_installed", "model_rolled_back"))
        trained = next((act.occurred_at for act in acts if act.kind == "model_installed"), None)
        waiting = labels.waiting(session, trained)
    try:
        kept = ModelStore(folder).listed()
    except Problem:
        kept = []  # `trouble` tells of it
    return page(
        here,
        "model.html",
        version=held.model.version,
        trouble=held.trouble,
        figures=[one for one in figures.stored(held.model) if one.value is not None],
        tasks=TASKS,
        limits=limits,
        said=said,
        wilson=wilson,
        confusions=list(said.confusions.items())[:CONFUSIONS],
        trained=trained,
        waiting=waiting,
        enough=ENOUGH,
        kept=list(reversed(kept)),
        acts=acts,
    )
