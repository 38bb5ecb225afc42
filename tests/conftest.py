"""What every test may use."""

from __future__ import annotations

import pytest

from tests.support import services


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    services.report_missing(terminalreporter)
