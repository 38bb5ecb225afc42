"""A clock that tests move: waiting takes no time, it only makes it later."""


class ManualClock:
    """An `ingestion.pacing.Clock`. It stops (every wait says so) once `stop_at_ns` is reached."""

    def __init__(self, now_ns: int, stop_at_ns: int | None = None) -> None:
        self.ns = now_ns
        self.stop_at_ns = stop_at_ns
        self.waits: list[float] = []

    def now_ns(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> bool:
        if seconds > 0:
            self.waits.append(seconds)
            self.ns += max(round(seconds * 1e9), 1)
        return self.stop_at_ns is not None and self.ns >= self.stop_at_ns
