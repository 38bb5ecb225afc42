"""Where values come from, and what is said when they are wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_site.config import ConfigError, load_config, loading
from sentinel_site.config.catalogue import KEYS
from sentinel_site.config.ingestion import IngestionConfig
from tests.sentinel_site.configurations import DEVELOPMENT, loaded, refused, written


def test_without_a_file_every_key_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "STANDARD_FILES", (tmp_path / "absent.yaml",))
    config = load_config(env=DEVELOPMENT)
    assert config.detection.zscore.threshold == 3.0
    assert config.origin.file is None
    assert list(config.origin.places) == ["environment"]


def test_an_empty_file_and_empty_sections_mean_the_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").storage.backend == "influxdb3"
    assert loaded(tmp_path, "storage:\ndetection:\n  zscore:\n").detection.zscore.threshold == 3.0


def test_the_explicit_path_goes_before_the_variable_and_that_before_the_standard_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for name in ("explicit", "named", "first", "second"):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(f"ingestion: {{kafka: {{topic: {name}}}}}")
    monkeypatch.setattr(loading, "STANDARD_FILES", (files["first"], files["second"]))
    named = DEVELOPMENT | {"SENTINEL_CONFIG": str(files["named"])}
    assert load_config(files["explicit"], named).ingestion.kafka.topic == "explicit"
    assert load_config(None, named).ingestion.kafka.topic == "named"
    assert load_config(None, DEVELOPMENT).ingestion.kafka.topic == "first"
    files["first"].unlink()
    assert load_config(None, DEVELOPMENT).ingestion.kafka.topic == "second"


@pytest.mark.parametrize("env", [{}, {"SENTINEL_CONFIG": "/nowhere/sentinel.yaml"}])
def test_a_file_that_was_asked_for_must_exist(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/sentinel\.yaml.*not a file"):
        load_config(None if env else Path("/nowhere/sentinel.yaml"), env)


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    text = "detection: {zscore: {threshold: 2.0}, mad: {threshold: 2.0}}"
    config = loaded(tmp_path, text, DEVELOPMENT | {"SENTINEL__DETECTION__ZSCORE__THRESHOLD": "2.5"})
    assert config.detection.zscore.threshold == 2.5
    assert config.detection.mad.threshold == 2.0
    assert config.detection.cusum.threshold == 5.0


SAMPLES: dict[str, Any] = {
    "detection.zscore.threshold": st.floats(0.01, 100),
    "ingestion.kafka.max_poll_records": st.integers(1, 100_000),
    "ingestion.kafka.brokers": st.lists(st.integers(1, 65535).map("kafka:{}".format), min_size=1, max_size=3),
    "api.enable_cors": st.booleans(),
    "detection.zscore.sensitivity": st.sampled_from(["low", "medium", "high"]),
}


@settings(deadline=None)
@given(data=st.data())
def test_for_any_key_the_last_layer_that_sets_it_wins(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    expected: dict[str, Any] = {}
    places: dict[str, str] = {}
    file: dict[str, Any] = {}
    env = dict(DEVELOPMENT)
    for path, values in SAMPLES.items():
        expected[path] = KEYS[path].default
        if data.draw(st.booleans(), label=f"{path} in the file"):
            expected[path] = file[path] = data.draw(values)
            places[path] = f"{folder / 'sentinel.yaml'}:1"
        if data.draw(st.booleans(), label=f"{path} in the environment"):
            expected[path] = value = data.draw(values)
            places[path] = KEYS[path].variable
            env[KEYS[path].variable] = value if isinstance(value, str) else json.dumps(value)
    nested: dict[str, Any] = {}
    for path, value in file.items():
        section, name = nested, path.split(".")
        for part in name[:-1]:
            section = section.setdefault(part, {})
        section[name[-1]] = value
    config = loaded(folder, json.dumps(nested), env)
    for path, value in expected.items():
        found = loading.value_at(config, path)
        assert (list(found) if isinstance(found, tuple) else found) == (
            list(value) if isinstance(value, tuple) else value
        )
        assert config.origin.places.get(path) == places.get(path)


def test_a_single_key_goes_before_its_section_in_the_environment(tmp_path: Path) -> None:
    env = DEVELOPMENT | {
        "SENTINEL__DETECTION__ZSCORE__THRESHOLD": "2.5",
        "SENTINEL__DETECTION": '{"zscore": {"threshold": 9, "sensitivity": "low"}}',
    }
    zscore = loaded(tmp_path, "", env).detection.zscore
    assert (zscore.threshold, zscore.sensitivity) == (2.5, "low")


def test_lists_and_mappings_come_as_json(tmp_path: Path) -> None:
    env = DEVELOPMENT | {
        "SENTINEL__ALERTING__WEBHOOK__ALLOWED_PRIVATE_NETWORKS": '["127.0.0.0/8"]',
        "SENTINEL__INGESTION__KAFKA__EXTRA": '{"fetch.wait.max.ms": 5}',
    }
    config = loaded(tmp_path, "", env)
    assert [str(network) for network in config.alerting.webhook.allowed_private_networks] == ["127.0.0.0/8"]
    assert config.ingestion.kafka.connection()["fetch.wait.max.ms"] == 5


def test_the_short_names_work_and_yield_to_the_long_ones(tmp_path: Path) -> None:
    short = {
        "INFLUXDB_TOKEN": "i-secret",
        "RABBITMQ_PASSWORD": "r-secret",
        "REDIS_PASSWORD": "d-secret",
        "WEBHOOK_SECRET": "w-secret",
        "SENTINEL_LOG_LEVEL": "WARN",
        "SENTINEL_LOG_JSON": "false",
        "SENTINEL__STORAGE__REDIS__PASSWORD": "long",
    }
    config = loaded(tmp_path, "", DEVELOPMENT | short)
    secrets = (config.storage.influxdb.token, config.alerting.rabbitmq.password, config.alerting.webhook.secret)
    assert [secret and secret.get_secret_value() for secret in secrets] == ["i-secret", "r-secret", "w-secret"]
    assert config.storage.redis.url_with_password() == "redis://:long@localhost:6379"
    assert (config.logging.level, config.logging.json_lines) == ("warn", False)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    env = DEVELOPMENT | {"REDIS_PASSWORD": "", "SENTINEL__DETECTION__ZSCORE__THRESHOLD": ""}
    config = loaded(tmp_path, "storage: {redis: {password: from-file}}", env)
    assert config.storage.redis.password is not None
    assert config.detection.zscore.threshold == 3.0


@pytest.mark.parametrize("name", [key.variable for key in KEYS.values() if key.secret])
def test_every_secret_is_read_from_a_file_too(tmp_path: Path, name: str) -> None:
    secret = "amqp://h" if "BROKER_URL" in name else "dGhpcnR5LXR3byBieXRlcyBvZiBhIGtleSBmb3IgbWU="
    (tmp_path / "secret").write_text(f"{secret}\n")
    config = loaded(tmp_path, "", DEVELOPMENT | {f"{name}_FILE": str(tmp_path / "secret")})
    path = next(key.path for key in KEYS.values() if key.variable == name)
    found: Any = loading.value_at(config, path)
    assert (found[0] if isinstance(found, tuple) else found).get_secret_value() == secret
    assert config.origin.places[path] == f"{name}_FILE"


def test_a_secret_file_that_is_missing_or_doubled_is_a_problem(tmp_path: Path) -> None:
    env = {
        "INFLUXDB_TOKEN_FILE": str(tmp_path / "absent"),
        "REDIS_PASSWORD": "x",
        "REDIS_PASSWORD_FILE": str(tmp_path / "absent"),
    }
    problems = refused(tmp_path, "", DEVELOPMENT | env)
    assert "cannot be read: No such file" in problems["storage.influxdb.token"].message
    assert "set together with REDIS_PASSWORD" in problems["storage.redis.password"].message


def test_several_keys_come_from_one_file_a_line_each(tmp_path: Path) -> None:
    keys = ["A" * 43 + "=", "B" * 42 + "A="]
    (tmp_path / "keys").write_text("\n".join(keys) + "\n")
    config = loaded(tmp_path, "", DEVELOPMENT | {"SENTINEL__SECURITY__ENCRYPTION_KEYS_FILE": str(tmp_path / "keys")})
    assert [key.get_secret_value() for key in config.security.encryption_keys] == keys


def test_credentials_leave_urls_and_return_only_for_clients(tmp_path: Path) -> None:
    text = """
        database: {url: "postgresql://sentinel:p%40ss@db:5433/prod", password: null}
        storage: {redis: {url: "rediss://app:r3d%2Fis@cache:6380/1"}}
        alerting: {rabbitmq: {url: "amqp://me:m%3Aq@mq:5672/vhost", username: sentinel}}
    """
    config = loaded(tmp_path, text)
    assert "ss@" not in repr(config)
    assert config.database.url == "postgresql://sentinel@db:5433/prod"
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "p@ss"
    database = config.database
    parts = (database.engine, database.user, database.host, database.port, database.name)
    assert parts == ("postgresql", "sentinel", "db", 5433, "prod")
    assert config.storage.redis.url == "rediss://app@cache:6380/1"
    assert config.storage.redis.url_with_password() == "rediss://app:r3d%2Fis@cache:6380/1"
    assert config.alerting.rabbitmq.url == "amqp://mq:5672/vhost"
    assert config.celery_broker_url() == "amqp://me:m%3Aq@mq:5672/vhost"


def test_a_password_of_the_environment_goes_before_one_in_the_urls_of_the_file(tmp_path: Path) -> None:
    text = 'alerting: {rabbitmq: {url: "amqp://me:old@mq"}}'
    config = loaded(tmp_path, text, DEVELOPMENT | {"RABBITMQ_PASSWORD": "new"})
    assert config.celery_broker_url() == "amqp://me:new@mq"


def test_sqlite_paths_are_relative_with_three_slashes_and_absolute_with_four(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'database: {url: "sqlite:///var/s.sqlite3"}').database.name == "var/s.sqlite3"
    assert loaded(tmp_path, 'database: {url: "sqlite:////data/s.sqlite3"}').database.name == "/data/s.sqlite3"


def test_all_problems_are_told_at_once_with_file_line_key_and_what_is_allowed(tmp_path: Path) -> None:
    text = """\
        detection:
          zscore:
            treshold: 2.0
            sensitivity: loud
          mad: {threshold: -1}
        ingestion:
          kafka:
            brokers: [kafka]
            max_poll_records: yes
            extra: {group.id: mine}
        storage: 7
        api: {cors_origins: ["https://a.example/path"]}
    """
    problems = refused(tmp_path, text, DEVELOPMENT | {"SENTINEL__DETECTION__CUSUM__DRIFT": "much"})
    file = tmp_path / "sentinel.yaml"
    assert str(problems["detection.zscore.treshold"]) == (
        f"{file}:3: detection.zscore.treshold: no such key; did you mean detection.zscore.threshold? "
        "Allowed here: threshold, sensitivity, metrics"
    )
    assert str(problems["detection.zscore.sensitivity"]) == (
        f"{file}:4: detection.zscore.sensitivity: must be 'low', 'medium' or 'high'; it is \"loud\""
    )
    assert problems["detection.mad.threshold"].message == "must be greater than 0; it is -1"
    assert problems["ingestion.kafka.brokers"].message.startswith('[0] must be "host:port"')
    assert problems["ingestion.kafka.max_poll_records"].message == "must be a number, not true; it is true"
    assert "ingestion.kafka.group_id" in problems["ingestion.kafka.extra"].message
    assert problems["storage"].message == "is a section and must hold keys"
    assert "exact origin" in problems["api.cors_origins"].message
    assert problems["detection.cusum.drift"].place == "SENTINEL__DETECTION__CUSUM__DRIFT"
    assert len(problems) == 9


def test_a_key_in_the_wrong_section_is_found_where_it_belongs(tmp_path: Path) -> None:
    problems = refused(tmp_path, "detection: {window_size: 5}\nretention: {telemetry: 3}")
    assert "did you mean detection.baseline.window_size?" in problems["detection.window_size"].message
    assert "did you mean storage.retention?" in problems["retention"].message


def test_a_variable_that_names_no_key_is_a_problem_with_a_suggestion(tmp_path: Path) -> None:
    env = DEVELOPMENT | {"SENTINEL__DETECTION__ZSCORE__TRESHOLD": "2", "SENTINEL__DETECTION__MODE_FILE": "/x"}
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "", env)
    messages = {problem.place: problem.message for problem in caught.value.problems}
    assert "did you mean SENTINEL__DETECTION__ZSCORE__THRESHOLD?" in messages["SENTINEL__DETECTION__ZSCORE__TRESHOLD"]
    assert "SENTINEL__DETECTION__MODE_FILE" in messages  # only secrets come from files


def test_a_secret_is_not_shown_in_the_problem_with_it(tmp_path: Path) -> None:
    problems = refused(tmp_path, "security: {encryption_keys: [hunter2]}\nstorage: {redis: {password: 12345}}")
    assert "32 bytes" in problems["security.encryption_keys"].message
    assert "hunter2" not in str(problems)
    assert "put it in quotes" in problems["storage.redis.password"].message
    assert "12345" not in str(problems["storage.redis.password"])


def test_a_wrong_value_that_the_environment_replaces_does_no_harm(tmp_path: Path) -> None:
    text = 'detection: {zscore: {threshold: "${NO_SUCH_VARIABLE}"}}'
    env = DEVELOPMENT | {"SENTINEL__DETECTION__ZSCORE__THRESHOLD": "2.5"}
    assert loaded(tmp_path, text, env).detection.zscore.threshold == 2.5


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("api:\n  enable_cors: [true\n", 3, "expected ',' or ']'"),
        ("api:\n\tenable_cors: true\n", 2, "cannot start any token"),
        ("- a\n", 1, "mapping of sections"),
        ("api: {}\ndetection: {}\napi: {}\n", 3, "is set twice; first in line 1"),
        ("api:\n  enable_cors: true\n  enable_cors: false\n", 3, "is set twice; first in line 2"),
        ("api:\n  on: true\n", 2, "a key must be text"),
    ],
)
def test_a_fault_of_the_yaml_is_told_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, DEVELOPMENT)
    assert any(problem.place == f"{file}:{line}" and reason in problem.message for problem in caught.value.problems), (
        str(caught.value)
    )


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sentinel.yaml").write_bytes(b"api: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "sentinel.yaml", DEVELOPMENT)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ingestion: {validation: {min_latency_ms: 5, max_latency_ms: 5}}", "ingestion.validation.min_latency_ms"),
        ("detection: {baseline: {min_samples: 11, window_size: 10}}", "detection.baseline.min_samples"),
        ("storage: {max_batch_size: 10}", "storage.influxdb.batch_size"),
        ("ingestion: {kafka: {security: {protocol: SASL_SSL}}}", "ingestion.kafka.security.sasl_mechanism"),
        ("ingestion: {kafka: {security: {sasl_mechanism: PLAIN}}}", "ingestion.kafka.security.sasl_password"),
        ("alerting: {webhook: {enabled: true, secret: x}}", "alerting.webhook.url"),
        ('alerting: {webhook: {enabled: true, url: "https://x.example"}}', "alerting.webhook.secret"),
        ("alerting: {webhook: {secret: whsec_c2hvcnQ=}}", "alerting.webhook.secret"),
        ("ingestion: {kafka: {max_poll_interval_ms: 5000}}", "ingestion.kafka.max_poll_interval_ms"),
        (
            "alerting: {rabbitmq: {retry_config: {max_delay_ms: 10}}}",
            "alerting.rabbitmq.retry_config.initial_delay_ms",
        ),
    ],
)
def test_keys_that_must_agree_are_checked_together(tmp_path: Path, text: str, key: str) -> None:
    assert key in refused(tmp_path, text)


def test_sensitivity_scales_the_threshold_as_documented(tmp_path: Path) -> None:
    found = {
        level: loaded(tmp_path, f"detection: {{zscore: {{sensitivity: {level}}}}}").detection.zscore.effective_threshold
        for level in ("low", "medium", "high")
    }
    assert found == pytest.approx({"low": 4.0, "medium": 3.0, "high": 2.5})


def test_a_detector_that_is_not_enabled_watches_nothing(tmp_path: Path) -> None:
    detection = loaded(tmp_path, "detection: {enabled_detectors: [zscore]}").detection
    assert detection.metrics_of("zscore") == ("latency_ms", "total_tokens", "cost_usd")
    assert detection.metrics_of("mad") == ()


@pytest.mark.parametrize(
    ("named", "running"),
    [
        ("[zscore, iqr]", ("shift", "spike", "error_burst", "novelty", "silence", "drift")),
        ("[zscore, silence, shift]", ("shift", "silence")),
    ],
)
def test_a_list_without_detectors_of_the_calibrated_mode_leaves_them_all_on(
    tmp_path: Path, named: str, running: tuple[str, ...]
) -> None:
    detection = loaded(tmp_path, f"detection: {{enabled_detectors: {named}}}").detection
    assert detection.calibrated_detectors == running
    assert detection.metrics_of("shift") == ()


def test_each_role_has_a_consumer_group_of_its_own(tmp_path: Path) -> None:
    kafka = loaded(tmp_path, "ingestion: {kafka: {group_id: eu}}").ingestion.kafka
    assert [kafka.group(role) for role in ("detect", "store", "normalize")] == ["eu-detect", "eu-store", "eu-normalize"]


def test_kafka_security_reaches_librdkafka_under_its_own_names(tmp_path: Path) -> None:
    text = """
        ingestion:
          kafka:
            brokers: ["a:1", "b:2"]
            security:
              protocol: SASL_SSL
              sasl_mechanism: SCRAM-SHA-512
              sasl_username: sentinel
              sasl_password: "${PW}"
              ssl_ca_location: /ca.pem
              verify_hostname: false
    """
    connection = loaded(tmp_path, text, DEVELOPMENT | {"PW": "s"}).ingestion.kafka.connection()
    assert connection == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "sentinel",
        "sasl.password": "s",
        "ssl.ca.location": "/ca.pem",
        "ssl.endpoint.identification.algorithm": "none",
    }


def test_anchors_and_merge_keys_of_yaml_work(tmp_path: Path) -> None:
    text = """
        detection:
          mad: &common {threshold: 2.0}
          zscore: {<<: *common, sensitivity: low}
          cusum: *common
    """
    detection = load_config(written(tmp_path, text), DEVELOPMENT).detection
    assert (detection.zscore.threshold, detection.cusum.threshold) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"spans_topic": "llm.telemetry"}, "may not read llm.telemetry"),
        ({"native_topics": ["otlp_logs"]}, "names otlp_logs twice"),
    ],
)
def test_what_is_normalized_goes_round_no_circle(section: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        IngestionConfig.model_validate({"normalize": section})
