"""What a long command shows of its progress."""

from io import StringIO

from ingestion.progress import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_appears_every_few_seconds():
    out, seconds = StringIO(), 0.0
    progress = Progress("replay", 200, "B", out, now=lambda: seconds)
    for position in range(0, 200, 10):
        seconds += 1.0
        progress.show(position, f"{position // 10} events")
    progress.close()
    assert out.getvalue().splitlines() == [
        "replay: 20%, 4 events after 5 s",
        "replay: 45%, 9 events after 10 s",
        "replay: 70%, 14 events after 15 s",
        "replay: 95%, 19 events after 20 s",
    ]


def test_without_a_total_it_only_counts():
    out, seconds = StringIO(), 0.0
    progress = Progress("live", None, "s", out, now=lambda: seconds)
    seconds = 6.0
    progress.show(6, "120 events")
    assert out.getvalue() == "live: 120 events after 6 s\n"


def test_a_terminal_gets_a_bar():
    out = Terminal()
    progress = Progress("replay", 200, "B", out)
    progress.show(100, "5 events")
    progress.close()
    assert "replay:  50%|" in out.getvalue()
    assert "5 events" in out.getvalue()
