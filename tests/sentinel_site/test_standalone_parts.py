from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery
from celery.worker import state as worker_state

from sentinel_site.celery import app
from sentinel_site.standalone.parts import Beat, Loop, Part, PartThread, StartError, Web, Worker, bind
from tests.support.waiting import eventually

Run = Callable[[Part], PartThread]


class Broken:
    """What the threads of a test reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str]] = []

    def __call__(self, name: str, error: BaseException | None) -> None:
        self.reports.append((name, repr(error)))


@pytest.fixture
def broken() -> Broken:
    return Broken()


@pytest.fixture
def run(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Starts parts, and stops them when the test is over."""
    monkeypatch.setattr(worker_state, "should_stop", None)
    threads: list[PartThread] = []

    def start(part: Part) -> PartThread:
        thread = PartThread(part, broken)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.stop()


@pytest.fixture
def done() -> Iterator[threading.Event]:
    """Set by the task `mark` of the product's application, the only one that a worker's threads look tasks up in."""
    event = threading.Event()

    @app.task(name="mark", shared=False)
    def mark() -> None:
        event.set()

    app.finalize()
    app.control.purge()  # what other tests left in the in-memory queues
    yield event
    app.tasks.pop("mark")


def ended(thread: PartThread, seconds: float) -> bool:
    return thread.join_until(time.monotonic() + seconds)


def test_the_worker_runs_tasks_and_leaves_when_told(done: threading.Event, run: Run, broken: Broken) -> None:
    thread = run(Worker(app))
    app.send_task("mark")
    assert done.wait(10)
    thread.stop()
    assert ended(thread, 4)
    assert broken.reports == []


def test_beat_sends_what_is_due_and_leaves_when_told(run: Run, tmp_path: Path) -> None:
    own = Celery("parts", broker="memory://localhost/", set_as_current=False)
    own.conf.beat_schedule = {"soon": {"task": "due", "schedule": 0.05}}
    own.conf.task_default_queue = "of-the-scheduler"
    thread = run(Beat(own, tmp_path / "schedule"))
    with own.connection_for_read() as connection:
        queue = connection.SimpleQueue("of-the-scheduler")
        assert queue.get(timeout=10).headers["task"] == "due"
        queue.close()
    thread.stop()
    assert ended(thread, 4)


def test_a_loop_ends_with_its_event(run: Run, broken: Broken) -> None:
    thread = run(Loop("waiting", lambda stop: stop.wait(30) and None))
    thread.stop()
    assert ended(thread, 4)
    assert broken.reports == []


def fail(_stop: threading.Event) -> int:
    raise OSError("disk is full")


@pytest.mark.parametrize(
    ("function", "reported"),
    [
        (lambda stop: None, "None"),
        (lambda stop: 3, "RuntimeError('part ended with code 3')"),
        (fail, "OSError('disk is full')"),
    ],
)
def test_a_part_that_ends_by_itself_is_reported(
    run: Run, broken: Broken, function: Callable[[threading.Event], int | None], reported: str
) -> None:
    assert ended(run(Loop("part", function)), 4)
    assert broken.reports == [("part", reported)]


class Application:
    """A WSGI application whose answer to /slow waits until the test allows it."""

    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            self.asked.set()
            self.answer.wait(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answered"]


def test_the_web_server_answers_what_was_asked_and_takes_no_more(run: Run) -> None:
    application = Application()
    bound = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    thread = run(Web(application, bound, max_body_bytes=1000))
    assert requests.get(url, timeout=5).text == "answered"
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(requests.get(f"{url}/slow", timeout=5).text))
    asking.start()
    assert application.asked.wait(5)
    stopping = threading.Thread(target=thread.stop)
    stopping.start()
    eventually(lambda: refuses(url), deadline=5)
    application.answer.set()
    asking.join(5)
    stopping.join(5)
    assert answers == ["answered"]


def refuses(url: str) -> bool:
    try:
        requests.get(url, timeout=1)
    except requests.ConnectionError:
        return True
    return False


def test_a_body_somewhat_beyond_the_limit_is_left_to_the_application(run: Run) -> None:
    bound = bind("127.0.0.1", 0)
    run(Web(Application(), bound, max_body_bytes=1000))
    answer = requests.post(f"http://127.0.0.1:{bound.getsockname()[1]}", data=b"x" * 1001, timeout=5)
    assert answer.text == "answered"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (b"POST /api/v1/events HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
    ],
)
def test_what_the_web_server_refuses_by_itself_is_a_problem_too(run: Run, asked: bytes, code: int) -> None:
    bound = bind("127.0.0.1", 0)
    run(Web(Application(), bound, max_body_bytes=1000))
    with socket.create_connection(bound.getsockname(), timeout=5) as connection:
        connection.sendall(asked)
        answer = HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())
    assert (answer.status, answer.headers["Content-Type"]) == (code, "application/problem+json")
    assert (document["status"], document["type"]) == (code, "about:blank")
    assert document["detail"]


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} cannot be used"):
            bind("127.0.0.1", port)
