from collections.abc import Sequence

class StatusAndHeaders:
    statusline: str
    headers: list[tuple[str, str]]
    def __init__(
        self,
        statusline: str,
        headers: Sequence[tuple[str, str]],
        protocol: str = ...,
        is_http_request: bool = ...,
    ) -> None: ...
    def get_header(self, name: str) -> str | None: ...
    def get_statuscode(self) -> str: ...
