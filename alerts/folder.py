"""The outbox folder: without a mail server every mail lies there as an .eml file that any mail program opens.

A message is never lost for want of a server, but nobody is called by a file: `quansheng doctor` says so.
"""

from __future__ import annotations

import os
from pathlib import Path

from alerts.email import Mail, compose
from alerts.results import Refused, Retry, SendResult, Sent


class FolderChannel:
    """A folder on this machine."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> SendResult:
        """Whether files can be written there."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return Refused(f"{self._folder}: {error.strerror}; make it writable")
        return (
            Sent(str(self._folder))
            if os.access(self._folder, os.W_OK)
            else Refused(f"{self._folder}: not writable")
        )

    def send(self, mail: Mail) -> SendResult:
        """Write the file; the same outbox row always has the same name, so a second try changes nothing."""
        try:
            content = compose(mail).as_bytes()
        except ValueError as error:
            return Refused(f"the mail cannot be written: {error}")
        name = f"{mail.date:%Y%m%dT%H%M%S}-{mail.outbox_id}.eml"
        part = self._folder / f".{name}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.rename(self._folder / name)
        except OSError as error:
            return Retry(f"{self._folder}: {error.strerror or error}")
        return Sent(f"folder:{name}")
