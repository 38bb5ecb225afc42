"""The order in which the parts of a standalone start and stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaException
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from anomalies.detection.warmup import warm_up
from ingestion.runner import run_roles
from ingestion.simulation.traffic import run_demo
from sentinel_site.celery import app
from sentinel_site.standalone import banner
from sentinel_site.standalone.backlog import Backlog
from sentinel_site.standalone.environment import Embedded
from sentinel_site.standalone.first_start import prepare_database
from sentinel_site.standalone.parts import Beat, Loop, Part, PartThread, StartError, Web, Worker, bind

ROLES = ("normalize", "detect", "store")
# Seconds from the signal to the end of each step of stopping; the whole must be over in five.
DRAINED_BY = 2.5
CONSUMERS_STOPPED_BY = 3.8
TASKS_STOPPED_BY = 4.3
LOOK_EVERY = 0.05


def demo_is_wanted() -> bool:
    """`DEMO`, on unless it says 0, false, no or off."""
    return os.environ.get("DEMO", "1").strip().lower() not in ("0", "false", "no", "off")


def largest_body() -> int:
    """Bytes of the largest body that any path takes; each has its own limit below that."""
    return max(settings.SENTINEL.api.max_body_size, settings.SENTINEL.ingestion.otlp.max_body_size)


class Standalone:
    """All parts, from the first start to the last word. Only the main thread drives it."""

    def __init__(self, embedded: Embedded, say: Callable[[str], None]) -> None:
        self._embedded = embedded
        self._say = say
        self._over = threading.Event()
        self._broken = ""
        self._intake: list[PartThread] = []
        self._consumers: list[PartThread] = []
        self._tasks: list[PartThread] = []

    def run(self) -> int:
        """Start, serve until a signal or a broken part, stop; returns the exit code. Raises StartError."""
        bound = bind(settings.SENTINEL.api.host, settings.SENTINEL.api.port)
        self._catch_signals()
        self._say(banner.STARTING)
        credentials = prepare_database()
        warm_up()
        self._start(bound)
        self._say(banner.welcome(self._embedded, credentials, demo_is_wanted()))
        self._wait()
        self._stop()
        return 1 if self._broken else 0

    def _start(self, bound: socket.socket) -> None:
        logging.getLogger("django.request").setLevel(logging.ERROR)  # a mistyped address is no news to the console
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        schedule = self._embedded.instance.var / "celerybeat-schedule"
        self._launch(self._tasks, Worker(app))
        self._launch(self._intake, Beat(app, schedule))
        self._launch(self._consumers, Loop("consumers", lambda stop: run_roles(roles=list(ROLES), stop=stop)))
        self._launch(self._intake, Web(get_wsgi_application(), bound, largest_body()))
        if demo_is_wanted():
            self._launch(self._intake, Loop("demo traffic", partial(run_demo, self._embedded.brokers)))

    def _launch(self, group: list[PartThread], *parts: Part) -> None:
        for part in parts:
            thread = PartThread(part, self._break)
            thread.start()
            group.append(thread)

    def _break(self, name: str, error: BaseException | None) -> None:
        """A part that ends by itself ends the whole: half a standalone would look healthy and miss everything."""
        self._broken = f"{name} broke: {error!r}" if error else f"{name} ended by itself"
        self._over.set()

    def _catch_signals(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asked to outlive the terminal
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if self._over.is_set():
            os._exit(130)  # asked twice: do not wait for anything
        self._over.set()

    def _wait(self) -> None:
        while not self._over.wait(1.0):  # a wait without end would not let signals through on every system
            pass
        if self._broken:
            self._say(f"{self._broken}. Stopping.")

    def _stop(self) -> None:
        """Intake first, then what the consumers still have to do, then the tasks that their alerts started."""
        self._say(banner.STOPPING)
        began = time.monotonic()
        for part in self._intake:
            part.stop()
        backlog = self._backlog()
        self._drain(backlog, began + DRAINED_BY)
        unfinished = self._end(self._consumers, began + CONSUMERS_STOPPED_BY)
        unfinished += self._end(self._tasks, began + TASKS_STOPPED_BY)
        self._say(banner.farewell(self._left(backlog), unfinished, self._embedded.broker is not None))

    def _backlog(self) -> Backlog:
        kafka = settings.SENTINEL.ingestion.kafka
        topics = {
            kafka.group("normalize"): settings.SENTINEL.ingestion.normalize.topics(),
            kafka.group("detect"): [kafka.topic],
            kafka.group("store"): [kafka.topic, kafka.detections_topic],
        }
        return Backlog(kafka.connection(), topics)

    def _drain(self, backlog: Backlog, deadline: float) -> None:
        """Let the consumers reach the end that the topics have now; programs elsewhere may go on producing."""
        try:
            ends = backlog.ends()
            while any(backlog.left(ends).values()) and time.monotonic() < deadline:
                time.sleep(LOOK_EVERY)
        except KafkaException as error:
            self._say(f"The broker does not answer: {error}")

    def _end(self, threads: list[PartThread], deadline: float) -> list[str]:
        """Stop them side by side; returns the names of those that did not end in time."""
        for thread in threads:
            thread.stop()
        return [thread.name for thread in threads if not thread.join_until(deadline)]

    def _left(self, backlog: Backlog) -> dict[str, int] | None:
        """What each consumer group leaves behind; None when the broker does not tell."""
        try:
            return backlog.left(backlog.ends())
        except KafkaException:
            return None


def main(embedded: Embedded, say: Callable[[str], None]) -> None:
    """Run to the end and leave the process, whatever threads are still in the middle of. Never returns."""
    try:
        code = Standalone(embedded, say).run()
    except StartError as error:
        say(f"standalone: {error}")
        code = 1
    finally:
        embedded.instance.withdraw()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
