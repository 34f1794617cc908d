"""A small TCP proxy that breaks connections on purpose: what a bad network does between us and a service.

Faults begin once the client has sent `after` (for SMTP the end of the mail), else with the connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal[
    "pass",
    "reset_on_connect",  # RST before anything is said
    "reset_in_request",  # the first bytes of the request are swallowed, then RST
    "reset_after_request",  # the service gets everything, its answer never comes back
    "half_close",  # the same, but politely
    "hold",  # the answer comes after `delay_s`
    "drip",  # the answer comes byte by byte, `delay_s` apart
    "cut_answer",  # half of the answer, then the end
    "garbage",  # bytes that are no answer of this service
]


@dataclass
class FaultProxy:
    """Listens on this machine (`port` 0 takes a free one) and passes everything to `target`, but for its fault."""

    target: tuple[str, int]
    fault: Fault = "pass"
    after: bytes = b""
    delay_s: float = 1.0
    connections: int = 0
    port: int = 0
    _ends: list[asyncio.StreamWriter] = field(default_factory=list, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop, repr=False)

    def start(self) -> FaultProxy:
        """Serve from a thread of its own."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True, name="fault-proxy")
        self._thread.start()
        ready.wait(10)
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def begin() -> asyncio.Server:
            return await asyncio.start_server(self._connected, "127.0.0.1", self.port)

        server = self._loop.run_until_complete(begin())
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for end in self._ends:
            end.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0.05))  # both directions see the end by themselves
        while left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0.05))  # transports that were aborted close now
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._ends.append(writer)
        if self.fault == "reset_on_connect":
            return _reset(writer)
        if self.fault == "reset_in_request" and not self.after:
            await reader.read(16)
            return _reset(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            return _reset(writer)
        self._ends.append(up_writer)
        broken = asyncio.Event()
        if not self.after:
            broken.set()
        try:
            with suppress(OSError):
                await asyncio.gather(
                    self._up(reader, up_writer, writer, broken), self._down(up_reader, writer, broken)
                )
        finally:
            for end in (writer, up_writer):
                end.close()
                with suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()
        return None

    async def _up(
        self,
        reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        broken: asyncio.Event,
    ) -> None:
        seen = b""
        while data := await reader.read(65536):
            seen = (seen + data)[-4096:]
            if self.after and self.after in seen:
                if self.fault == "reset_in_request":
                    _reset(writer)
                    up_writer.transport.abort()
                    return
                broken.set()
            up_writer.write(data)
            await up_writer.drain()
        with suppress(OSError):
            up_writer.write_eof()

    async def _down(
        self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event
    ) -> None:
        while data := await up_reader.read(65536):
            if not broken.is_set() or self.fault == "pass":
                writer.write(data)
                await writer.drain()
                continue
            if self._break(writer, data):
                return
            if self.fault == "hold":
                await asyncio.sleep(self.delay_s)
                writer.write(data)
            elif self.fault == "drip":
                for byte in data:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self.delay_s)
            await writer.drain()

    def _break(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        """End the connection in the way of the fault; False when it is another kind of fault."""
        if self.fault == "reset_after_request":
            _reset(writer)
        elif self.fault == "half_close":
            writer.close()
        elif self.fault == "cut_answer":
            writer.write(data[: len(data) // 2])
            writer.close()
        elif self.fault == "garbage":
            writer.write(b"\x00\xffthis is no answer\r\n")
            writer.close()
        else:
            return False
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does: RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
