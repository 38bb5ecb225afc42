"""What production refuses and development allows."""

from pathlib import Path

import pytest

from sentinel_site.config.catalogue import KEYS
from tests.sentinel_site.configurations import PRODUCTION, loaded, refused


def test_production_with_its_secrets_in_order_starts(tmp_path: Path) -> None:
    config = loaded(tmp_path, "", PRODUCTION)
    assert config.is_production
    assert config.origin.warnings == ()


def test_production_names_every_missing_secret_and_how_to_set_it(tmp_path: Path) -> None:
    problems = refused(tmp_path, "", {})
    assert set(problems) == {
        "security.secret_key",
        "security.encryption_keys",
        "security.token_pepper",
        "storage.influxdb.token",
        "alerting.rabbitmq.password",
    }
    for key, problem in problems.items():
        assert f"set {KEYS[key].variable} or {KEYS[key].variable}_FILE" in problem.message


def test_development_needs_no_secret(tmp_path: Path) -> None:
    assert not loaded(tmp_path, "environment: development", {}).is_production


def test_the_variable_a_secret_waits_for_is_named(tmp_path: Path) -> None:
    env = {name: value for name, value in PRODUCTION.items() if name != "INFLUXDB_TOKEN"}
    problem = refused(tmp_path, 'storage: {influxdb: {token: "${MY_TOKEN}"}}', env)["storage.influxdb.token"]
    assert "${MY_TOKEN}, which is not set" in problem.message


def test_what_is_not_used_needs_no_secret(tmp_path: Path) -> None:
    env = {name: value for name, value in PRODUCTION.items() if name.startswith("SENTINEL__SECURITY")}
    text = """
        storage: {backend: database}
        alerting: {rabbitmq: {enabled: false}}
        celery: {broker_url: "redis://broker:6379"}
    """
    assert loaded(tmp_path, text, env).storage.backend == "database"


@pytest.mark.parametrize("value", ["guest", "changeme", "PASSWORD", "your-rabbitmq-password"])
def test_well_known_secrets_are_refused_in_production_only(tmp_path: Path, value: str) -> None:
    env = PRODUCTION | {"RABBITMQ_PASSWORD": value}
    problems = refused(tmp_path, "", env)
    assert "well-known" in problems["alerting.rabbitmq.password"].message
    assert loaded(tmp_path, "", env | {"SENTINEL__ENVIRONMENT": "development"})


@pytest.mark.parametrize(("key", "least"), [("security.secret_key", 50), ("security.token_pepper", 32)])
def test_short_keys_are_refused(tmp_path: Path, key: str, least: int) -> None:
    problems = refused(tmp_path, "", PRODUCTION | {KEYS[key].variable: "x" * (least - 1)})
    assert f"at least {least} characters" in problems[key].message
    assert loaded(tmp_path, "", PRODUCTION | {KEYS[key].variable: "x" * least})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('api: {cors_origins: ["*"]}', "api.cors_origins"),
        ('storage: {redis: {url: "fakeredis://"}}', "storage.redis.url"),
        ('celery: {broker_url: "memory://"}', "celery.broker_url"),
    ],
)
def test_open_doors_and_state_in_one_process_are_refused(tmp_path: Path, text: str, key: str) -> None:
    assert set(refused(tmp_path, text, PRODUCTION)) == {key}
    assert loaded(tmp_path, text, {"SENTINEL__ENVIRONMENT": "development"})


def test_production_speaks_of_its_own_rules_beside_other_problems(tmp_path: Path) -> None:
    problems = refused(tmp_path, "detection: {mode: psychic}", {})
    assert {"detection.mode", "security.secret_key"} <= set(problems)
