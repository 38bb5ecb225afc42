"""The complete example of the specification, verbatim, and the fate of each of its keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel_site.config import ConfigError, load_config
from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.fates import FATES, fate_of
from sentinel_site.config.policy import value_at
from tests.sentinel_site.configurations import DEVELOPMENT, PRODUCTION, loaded, refused

EXAMPLE = Path(__file__).with_name("spec_example.yaml")


def leaves(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


SPEC_KEYS = dict(leaves(yaml.safe_load(EXAMPLE.read_text())))


def test_every_key_of_the_example_has_a_fate() -> None:
    fates = {path: fate_of(path) for path in SPEC_KEYS}
    assert [path for path, fate in fates.items() if fate is None or not fate.why] == []
    unlike = {path: fate.kind for path, fate in fates.items() if fate and fate.kind != "used"}
    assert unlike == {
        "ingestion.kafka.enable_auto_commit": "ignored",
        "detection.baseline.persistence_path": "ignored",
        "storage.influxdb.telemetry_bucket": "mapped",
        "storage.influxdb.anomaly_bucket": "mapped",
        "storage.cache.tti_secs": "ignored",
        "storage.redis.enabled": "ignored",
        "alerting.deduplication.cleanup_interval_secs": "ignored",
    }


def test_the_table_of_fates_names_only_keys_that_somebody_may_set() -> None:
    assert set(FATES) <= set(SPEC_KEYS) | set(KEYS)
    assert all(fate.target in KEYS for fate in FATES.values() if fate.kind == "mapped")
    assert {path for path, fate in FATES.items() if fate.kind != "used"} & set(KEYS) == set()


def test_the_example_loads_verbatim_in_development_and_every_used_value_arrives() -> None:
    secrets = {"INFLUXDB_TOKEN": "t1", "REDIS_PASSWORD": "t2", "RABBITMQ_PASSWORD": "t3", "WEBHOOK_SECRET": "t4"}
    config = load_config(EXAMPLE, DEVELOPMENT | secrets)
    for path, written in SPEC_KEYS.items():
        fate = fate_of(path)
        assert fate is not None
        if fate.kind == "ignored":
            continue
        found: Any = value_at(config, fate.target or path)
        if KEYS[fate.target or path].secret:
            assert found.get_secret_value() == secrets[written.strip("${}")], path
        else:
            assert (list(found) if isinstance(found, tuple) else found) == written, path


def test_what_the_example_sets_in_vain_is_warned_of_with_its_line_and_reason() -> None:
    warnings = load_config(EXAMPLE, DEVELOPMENT).origin.warnings
    assert [text.split(": ")[1].split(" ")[0] for text in warnings] == [
        "detection.baseline.persistence_path",
        "storage.cache.tti_secs",
        "alerting.deduplication.cleanup_interval_secs",
    ]
    assert all(f"{EXAMPLE}:" in text and "is ignored: " in text for text in warnings)


def test_production_refuses_the_example_for_its_open_cors_alone() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(EXAMPLE, PRODUCTION)
    (problem,) = caught.value.problems
    assert problem.key == "api.cors_origins"
    assert '"*" is refused in production' in problem.message
    assert load_config(EXAMPLE, PRODUCTION | {"SENTINEL__API__CORS_ORIGINS": '["https://a.example"]'})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ingestion: {kafka: {enable_auto_commit: true}}", "after a batch's effects are durable"),
        ("storage: {redis: {enabled: false}}", "fakeredis://"),
        ("storage: {redis: {ttl_secs: 60}}", "detection state never expires"),
        ("api: {metrics_open: true}", "anyone"),
    ],
)
def test_a_value_that_misleads_is_warned_of(tmp_path: Path, text: str, reason: str) -> None:
    (warning,) = loaded(tmp_path, text).origin.warnings
    assert reason in warning


def test_ignored_keys_of_the_environment_are_warned_of_too(tmp_path: Path) -> None:
    variable = "SENTINEL__INGESTION__KAFKA__ENABLE_AUTO_COMMIT"
    assert loaded(tmp_path, "", DEVELOPMENT | {variable: "false"}).origin.warnings == ()
    (warning,) = loaded(tmp_path, "", DEVELOPMENT | {variable: "true"}).origin.warnings
    assert warning.startswith(f"{variable}: ingestion.kafka.enable_auto_commit is ignored")


def test_a_bucket_names_the_database_and_both_together_are_a_problem(tmp_path: Path) -> None:
    text = "storage: {influxdb: {telemetry_bucket: events}}"
    assert loaded(tmp_path, text).storage.influxdb.telemetry_database == "events"
    both = "storage: {influxdb: {telemetry_bucket: events, telemetry_database: events}}"
    assert "keep one" in refused(tmp_path, both)["storage.influxdb.telemetry_database"].message
