"""The price table is checked, grows, and is compared on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from ingestion.limits import STANDARD_TABLE
from ingestion.pricing import read_table


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    call_command("prices", *map(str, words))
    return capsys.readouterr().out


def test_check_says_what_a_table_holds_and_what_a_model_costs(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "check", "--model", "gpt-4o", "--provider", "openai", "--at", "2024-06-01")
    assert str(STANDARD_TABLE) in out
    assert "gpt-4o: input 5, output 15" in out


def test_check_fails_for_a_model_without_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="unpriced"):
        run(capsys, "check", "--model", "unheard-of")


def test_an_added_price_is_appended_and_the_rest_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prices.yaml"
    file.write_bytes(STANDARD_TABLE.read_bytes())
    add = ("add", "--file", file, "--provider", "own", "--model", 'my "model"', "--input", "1.5", "--output", "2")
    run(capsys, *add, "--from", "2025-01-01", "--source", "https://prices.example/#1")
    assert file.read_bytes().startswith(STANDARD_TABLE.read_bytes())
    out = run(capsys, "check", file, "--model", 'my "model"', "--at", "2025-01-01")
    assert "input 1.5, output 2" in out
    with pytest.raises(CommandError, match=r"is unchanged: own .* has two prices"):
        run(capsys, *add, "--from", "2025-01-01")
    assert read_table(file)


def test_diff_tells_future_prices_from_changes_of_the_past(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prices.yaml"
    file.write_bytes(STANDARD_TABLE.read_bytes())
    assert "0 differences" in run(capsys, "diff", STANDARD_TABLE, file)
    add = ("add", "--file", file, "--provider", "openai", "--model", "gpt-4o", "--input", "1", "--output", "2")
    run(capsys, *add, "--from", "2999-01-01")
    assert "none -> input 1, output 2\n1 differences, 0 of them" in run(capsys, "diff", STANDARD_TABLE, file)
    run(capsys, *add, "--from", "2024-11-11")
    with pytest.raises(CommandError, match="calls of the past"):
        run(capsys, "diff", STANDARD_TABLE, file)
    assert "concerns the past" in capsys.readouterr().out


def test_the_shipped_table_is_written_as_the_command_reads_it() -> None:
    table = read_table(STANDARD_TABLE)
    assert len(table.prices) > 60
    assert all(entry.source.startswith("https://") for entry in table.prices)
