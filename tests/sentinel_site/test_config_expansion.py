"""`${VAR}` in values."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_site.config.expansion import expand
from tests.sentinel_site.configurations import DEVELOPMENT, loaded, refused

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
plain = st.text().filter(lambda text: "${" not in text and not text.endswith("$"))
anything = st.text(min_size=1)


@given(text=plain, env=st.dictionaries(names, anything))
def test_text_without_references_stays_as_it_is(text: str, env: dict[str, str]) -> None:
    assert expand(text, env).text == text


@given(before=plain, name=names, value=anything, after=plain)
def test_a_reference_becomes_the_value_literally_whatever_it_holds(
    before: str, name: str, value: str, after: str
) -> None:
    expansion = expand(f"{before}${{{name}}}{after}", {name: value, "OTHER": "x"})
    assert (expansion.text, expansion.unset) == (before + value + after, ())


@given(name=names, default=st.text().filter(lambda text: "}" not in text), value=st.text())
def test_a_default_stands_in_for_a_variable_that_is_unset_or_empty(name: str, default: str, value: str) -> None:
    assert expand(f"${{{name}:-{default}}}", {name: value}).text == (value or default)
    assert expand(f"${{{name}:-{default}}}", {}) == expand(f"${{{name}:-{default}}}", {name: ""})


@given(before=plain, name=names)
def test_a_variable_without_value_and_default_is_named(before: str, name: str) -> None:
    expansion = expand(f"{before}${{{name}}}", {})
    assert (expansion.text, expansion.unset) == (before, (name,))


@given(name=names, value=anything)
def test_a_doubled_dollar_keeps_the_characters(name: str, value: str) -> None:
    assert expand(f"$${{{name}}}", {name: value}).text == f"${{{name}}}"


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A-b}", "${A", "a ${A:=b}", "${ A }"])
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed reference"):
        expand(text, {"A": "x"})


def test_values_in_lists_and_mappings_are_expanded_and_typed_afterwards(tmp_path: Path) -> None:
    text = """
        ingestion:
          kafka:
            brokers: ["${HOST}:9092"]
            session_timeout_ms: "${TIMEOUT:-7000}"
            extra: {client.id: "${HOST}-client"}
    """
    kafka = loaded(tmp_path, text, DEVELOPMENT | {"HOST": "kafka-1"}).ingestion.kafka
    assert (kafka.brokers, kafka.session_timeout_ms) == (("kafka-1:9092",), 7000)
    assert kafka.extra == {"client.id": "kafka-1-client"}


def test_a_value_cannot_bring_yaml_of_its_own(tmp_path: Path) -> None:
    env = DEVELOPMENT | {"T": "a, standalone: true"}
    problems = refused(tmp_path, "ingestion: {kafka: {topic: '${T}'}}", env)
    assert list(problems) == ["ingestion.kafka.topic"]


def test_an_unset_variable_unsets_a_secret_and_is_a_problem_elsewhere(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'storage: {redis: {password: "${NOT_SET}"}}').storage.redis.password is None
    problem = refused(tmp_path, 'ingestion: {kafka: {topic: "${NOT_SET}"}}')["ingestion.kafka.topic"]
    assert "${NOT_SET}, which is not set" in problem.message
    assert "${NOT_SET:-default}" in problem.message


def test_of_a_list_of_secrets_the_unset_ones_are_left_out(tmp_path: Path) -> None:
    text = 'security: {encryption_keys: ["${NEW}", "${OLD}"]}'
    key = "A" * 43 + "="
    config = loaded(tmp_path, text, DEVELOPMENT | {"NEW": key})
    assert [secret.get_secret_value() for secret in config.security.encryption_keys] == [key]
