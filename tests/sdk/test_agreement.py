"""SDK and server agree on what an event is; and the SDK can be installed from its folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from llm_sentinel import InvalidEvent, TelemetryEvent

from ingestion.formats import native
from ingestion.formats.event import partition_key
from ingestion.formats.native import Message
from ingestion.formats.validation import Limits, Rejection

SDK = Path(__file__).resolve().parents[2] / "sdk" / "python"
NOW_MS = 1_790_000_000_000
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
numbers = st.none() | st.integers() | st.floats() | st.text(max_size=3)


@given(st.text(max_size=140), st.text(max_size=140))
@example("a|b", "c")
@example("\u202e", "m")
@example("m" * 128, "m" * 129)
def test_names_are_refused_by_the_sdk_where_the_server_refuses_them(service: str, model: str) -> None:
    text = TelemetryEvent("s", "m", 1.0, 1, 1, timestamp=NOON).encode().value.decode()
    flat = text.replace('"service_name":"s"', f'"service_name":{quoted(service)}')
    by_hand = flat.replace('"model_name":"m"', f'"model_name":{quoted(model)}').encode("utf-8", "replace")
    try:
        event = native.decode(by_hand, received_ms=NOW_MS, limits=Limits())
    except Rejection:
        with pytest.raises(InvalidEvent):
            TelemetryEvent(service, model, 1.0, 1, 1).encode()
    else:
        assert TelemetryEvent(service, model, 1.0, 1, 1).encode().key == partition_key(event.service, event.model)


def quoted(text: str) -> str:
    return native.msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()


@given(latency=numbers, prompt=numbers, completion=numbers, cost=numbers, failed=st.booleans(), user=st.text())
def test_what_the_sdk_lets_through_the_server_takes(
    latency: object, prompt: object, completion: object, cost: object, failed: bool, user: str
) -> None:
    event = TelemetryEvent(
        "s",
        "m",
        latency,  # type: ignore[arg-type]
        prompt,  # type: ignore[arg-type]
        completion,  # type: ignore[arg-type]
        cost_usd=cost,  # type: ignore[arg-type]
        user_id=user,
        errors=["timeout"] if failed else [],
        timestamp=NOON,
    )
    try:
        message = event.encode()
    except InvalidEvent:
        return
    decoded = native.decode(message.value, received_ms=NOW_MS, limits=Limits())
    assert decoded.error == failed


def test_every_field_of_an_event_is_one_that_the_server_reads() -> None:
    texts = {"prompt_text", "response_text"}
    assert set(TelemetryEvent.__dataclass_fields__) - texts <= set(Message.__struct_fields__)


def test_the_event_that_the_documentation_shows_is_one() -> None:
    document = (SDK.parents[1] / "docs" / "sdk.md").read_text()
    shown = document.split("```json\n", 1)[1].split("```", 1)[0].encode()
    event = native.decode(shown, received_ms=NOW_MS, limits=Limits())
    assert (event.service, event.model, event.latency_ms, event.marks) == ("chat-api", "gpt-4", 1234.5, ())
    said = native.msgspec.json.decode(shown)
    assert set(said) <= set(Message.__struct_fields__)
    unsaid = set(TelemetryEvent.__dataclass_fields__) - set(said)
    assert {name for name in unsaid if f"`{name}`" not in document} == set()


def test_the_folder_can_be_installed(tmp_path: Path) -> None:
    source = tmp_path / "python"
    shutil.copytree(SDK, source, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--wheel",
        "--offline",
        "--out-dir",
        str(tmp_path / "dist"),
        str(source),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").glob("llm_sentinel-*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    modules = {f"llm_sentinel/{path.name}" for path in (SDK / "src" / "llm_sentinel").glob("*.py")}
    assert modules | {"llm_sentinel/py.typed"} <= set(inside)
    assert not any(name.startswith("tests/") for name in inside)
