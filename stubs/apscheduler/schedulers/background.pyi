from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from apscheduler.triggers.base import BaseTrigger

class BackgroundScheduler:
    running: bool
    def __init__(
        self, *, timezone: tzinfo, job_defaults: dict[str, object], executors: dict[str, object] = ...
    ) -> None: ...
    def add_job(
        self,
        func: Callable[..., object],
        trigger: BaseTrigger,
        *,
        args: Sequence[object] = ...,
        id: str = ...,
        name: str = ...,
        next_run_time: datetime = ...,
    ) -> object: ...
    def modify_job(self, job_id: str, *, next_run_time: datetime) -> object: ...
    def start(self) -> None: ...
    def shutdown(self, wait: bool = ...) -> None: ...
