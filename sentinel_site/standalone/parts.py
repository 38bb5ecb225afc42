"""The parts that run side by side, each in a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from celery import Celery
from celery.beat import Service as Scheduler
from celery.worker import WorkController
from celery.worker import state as worker_state
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from sentinel_site.problems import CONTENT_TYPE, encoded_problem
from sentinel_site.standalone import LIVE_THREADS

WEB_THREADS = 8
TASK_THREADS = 4
# A body somewhat beyond what the application takes is read and refused by it: who is cut off while still sending
# often sees a broken connection and no answer. Larger ones are cut off.
READ_BEYOND_LIMIT = 16 * 2**20


class Part(Protocol):
    """Something that runs until it is told to stop."""

    name: str

    def run(self) -> None:
        """Work; return after `stop`. Returning or raising before means that the part broke."""

    def stop(self) -> None:
        """Ask it to end, from another thread, within half a second; `run` may take longer to return."""


class PartThread(threading.Thread):
    """A part at work. It is a daemon: a part that does not end in time cannot hold the process."""

    def __init__(self, part: Part, broke: Callable[[str, BaseException | None], None]) -> None:
        """`broke` is called with the part's name and error when it ends without being told to."""
        super().__init__(name=part.name, daemon=True)
        self._part = part
        self._broke = broke
        self._told = threading.Event()

    def run(self) -> None:
        error: BaseException | None = None
        try:
            self._part.run()
        except BaseException as caught:  # noqa: BLE001  SystemExit too would leave a silent hole
            error = caught
        if not self._told.is_set():
            self._broke(self._part.name, error)

    def stop(self) -> None:
        self._told.set()
        if self.is_alive():
            self._part.stop()

    def join_until(self, deadline: float) -> bool:
        """Wait until the monotonic clock shows `deadline`; whether the part has ended."""
        self.join(max(deadline - time.monotonic(), 0))
        return not self.is_alive()


class StartError(RuntimeError):
    """The message says what is in the way."""


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the web server's address, before anything else is touched. Raises StartError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), port))
        bound.listen(1)  # two may bind with SO_REUSEADDR, only one may listen
    except OSError as error:
        bound.close()
        raise StartError(
            f"{host}:{port} cannot be used: {error.strerror}. Set SENTINEL_PORT to another port."
        ) from None
    return bound


class RefusedRequest(ErrorTask):
    """The answer to a request that does not get as far as the application: a problem document too."""

    def execute(self) -> None:
        error = self.request.error
        path = getattr(self.request, "path", "")  # a line that cannot be read has none
        body = encoded_problem(error.code, f"The web server refused the request: {error.body}.", path)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", CONTENT_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):
    error_task_class = RefusedRequest


class Web:
    """The web server, on a socket that was bound before anything else started."""

    name = "web server"

    def __init__(self, application: Any, bound: socket.socket, max_body_bytes: int) -> None:
        self._server = create_server(
            application,
            sockets=[bound],
            threads=WEB_THREADS + LIVE_THREADS,
            channel_request_lookahead=1,  # or nobody would notice that a page that waits was closed
            ident=None,
            max_request_body_size=max_body_bytes + READ_BEYOND_LIMIT,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = Channel

    def run(self) -> None:
        self._server.run()

    def stop(self) -> None:
        """Accept no more connections and answer what is being asked; the loop's thread ends with the process."""
        # Sockets belong to the loop's thread. The trigger stays open: answers still go out through it.
        self._server.trigger.pull_trigger(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=0.5)


class Worker:
    """A Celery worker. The bare controller leaves signals and logging to the process it lives in."""

    name = "Celery worker"

    def __init__(self, app: Celery) -> None:
        self._worker = WorkController(
            app=app,
            hostname="standalone@localhost",
            pool="threads",
            concurrency=TASK_THREADS,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            task_events=False,
        )

    def run(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        worker_state.should_stop = 0
        # Waits for running tasks, so it must not be waited for.
        threading.Thread(target=self._worker.stop, daemon=True).start()


class Beat:
    """Celery's scheduler of periodic tasks."""

    name = "Celery beat"

    def __init__(self, app: Celery, schedule_file: Path) -> None:
        self._scheduler = Scheduler(
            app,
            max_interval=1,
            schedule_filename=str(schedule_file),
            scheduler_cls=app.conf.beat_scheduler,
        )

    def run(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.stop()


class Loop:
    """A function that runs until an event is set, such as the consumers or the demo traffic."""

    def __init__(self, name: str, function: Callable[[threading.Event], int | None]) -> None:
        """The function returns None or 0 when it ended well."""
        self.name = name
        self._function = function
        self._stop = threading.Event()

    def run(self) -> None:
        if code := self._function(self._stop):
            raise RuntimeError(f"{self.name} ended with code {code}")

    def stop(self) -> None:
        self._stop.set()
