"""The port of a consumer or worker that says how it is: /metrics and /health/*."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Report = dict[str, Any]


def serve(port: int, health: Callable[[], Report], address: str = "0.0.0.0") -> ThreadingHTTPServer:  # noqa: S104
    """Serve /metrics, /health/live, /health/ready and /health/startup in a daemon thread.

    `health` returns the components as wire format 4 has them; the answer is 503 unless "status" says healthy or
    degraded. Raises OSError if the port is taken.
    """

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif self.path == "/health/live":
                self._send_json(200, {"status": "healthy", "timestamp": _now()})
            elif self.path in ("/health/ready", "/health/startup"):
                report = health()
                self._send_json(503 if report["status"] == "unhealthy" else 200, report | {"timestamp": _now()})
            else:
                self._send_json(404, {"detail": "there are /metrics, /health/live, /health/ready, /health/startup"})

        def _send_json(self, status: int, body: Report) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes every few seconds are no news."""

    server = ThreadingHTTPServer((address, port), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="monitor", daemon=True).start()
    return server


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
