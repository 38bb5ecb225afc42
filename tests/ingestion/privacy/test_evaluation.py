"""How well private data is found is measured, over a corpus that is made anew the same, and by the command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from ingestion.privacy import DEFAULT, Finding
from ingestion.privacy.evaluation import evaluate, kind_of
from tests.ingestion.privacy.make_corpus import CORPUS, corpus

DOCUMENT = Path(__file__).parents[3] / "docs" / "privacy.md"


@pytest.fixture(scope="module")
def samples() -> list[dict[str, object]]:
    return [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def test_the_corpus_is_what_its_script_makes(samples: list[dict[str, object]]) -> None:
    assert samples == corpus()
    assert len(samples) >= 3_000
    assert sum(not sample["labels"] for sample in samples) >= 1_000


def test_kinds_are_found_as_well_as_promised(samples: list[dict[str, object]]) -> None:
    labelled = [
        (sample["text"], [Finding(label["kind"], label["start"], label["end"]) for label in sample["labels"]])  # type: ignore[attr-defined]
        for sample in samples
    ]
    scores = evaluate(labelled, DEFAULT)  # type: ignore[arg-type]
    for kind in ("card", "iban"):
        assert (scores[kind].recall or 0) >= 0.99
        assert (scores[kind].precision or 0) >= 0.95
    for kind in ("email", "phone"):
        assert (scores[kind].recall or 0) >= 0.97
    for score in scores.values():
        assert (score.recall or 0) >= 0.95
        assert (score.precision or 0) >= 0.95


def test_a_miss_and_a_false_finding_are_counted() -> None:
    scores = evaluate(
        [("a@b.io", [Finding("email", 0, 6)]), ("none", [Finding("email", 0, 4)]), ("c@d.io", [])], DEFAULT
    )
    assert (scores["email"].labels, scores["email"].found) == (2, 1)
    assert (scores["email"].findings, scores["email"].right) == (2, 1)
    assert scores["email"].recall == scores["email"].precision == 0.5


def test_names_of_other_corpora_are_understood() -> None:
    assert [kind_of(name) for name in ("Credit-Card", "IPv6", "US SSN", "email", "planet")] == [
        "card",
        "ip",
        "ssn",
        "email",
        "planet",
    ]


def run(monkeypatch: pytest.MonkeyPatch, written: bytes, *options: str) -> str:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(written)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    call_command("scrub", *options)
    return out.getvalue().decode("utf-8", "surrogateescape")


def test_the_command_scrubs_text(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIE0123456789\n" * 1_000 + "-----END PRIVATE KEY-----\n"
    written = f"mail a@b.io\npassword=hunter2\n{key}the end".encode() + b"\xff"
    assert run(monkeypatch, written) == "mail [email]\npassword=[redacted]\n[private_key]\nthe end\udcff"


def test_a_long_list_is_scrubbed_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, b"+1 415 555 2671\n" * 9_000) == "[phone]\n" * 9_000


def test_the_command_scrubs_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    written = run(monkeypatch, '{"id": 7, "text": "é a@b.io", "x": 1}\n\n'.encode(), "--format", "jsonl")
    assert json.loads(written) == {"id": 7, "text": "é [email]", "x": 1}
    with pytest.raises(CommandError, match="line 1"):
        run(monkeypatch, b'{"id": 7}\n', "--format", "jsonl")


def test_the_command_prints_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text('{"id": 1, "text": "a@b.io", "labels": [{"kind": "EMAIL_ADDRESS", "start": 0, "end": 6}]}\n')
    call_command("scrub", "--evaluate", str(file))
    assert "| email | 1 | 1 | 1.0000 | 1 | 1 | 1.0000 |" in capsys.readouterr().out
    file.write_text('{"id": 1, "text": "a@b.io"}\n')
    with pytest.raises(CommandError, match="line 1"):
        call_command("scrub", "--evaluate", str(file))


def test_the_document_holds_the_measured_table(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("scrub", "--evaluate", str(CORPUS))
    for line in capsys.readouterr().out.splitlines():
        assert line in DOCUMENT.read_text(encoding="utf-8")
