"""One port for two servers: HTTP/1.1 goes to the one, HTTP/2 (gRPC) to the other."""

from __future__ import annotations

import asyncio
import contextlib
import threading

_HTTP2_BEGINS = b"PRI"


class OnePort:
    """Forwards every connection by its first bytes; runs in a thread of its own until closed."""

    def __init__(self, port: int, *, http: int, grpc: int) -> None:
        self._upstreams = {False: http, True: grpc}
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.StreamWriter] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", port))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop what is connected."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _drop(self) -> None:
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            begin = await reader.readexactly(len(_HTTP2_BEGINS))
            upstream = await asyncio.open_connection("127.0.0.1", self._upstreams[begin == _HTTP2_BEGINS])
            upstream[1].write(begin)
            self._connections |= {writer, upstream[1]}
            await asyncio.gather(self._pump(reader, upstream[1]), self._pump(upstream[0], writer))
            self._connections -= {writer, upstream[1]}

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
