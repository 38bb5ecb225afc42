"""Compiled loops of a former version are never found."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.stats import compiled


def test_a_changed_source_gets_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "baselines" / "stats"
    package.mkdir(parents=True)
    monkeypatch.setattr(compiled, "_ROOT", tmp_path)
    (package / "window.py").write_text("LIMIT = 1\n")
    before = compiled.cache_directory()
    assert compiled.cache_directory() == before
    (package / "window.py").write_text("LIMIT = 2\n")
    assert compiled.cache_directory() != before


def test_the_operator_may_say_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_directory().parent == tmp_path
