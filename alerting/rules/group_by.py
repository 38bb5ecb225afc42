"""What a rule tells together: the facts in which anomalies of one group agree."""

from __future__ import annotations

from alerting.rules.matching import LABEL_PREFIX

GROUP_FIELDS = ("incident", "service", "model", "provider", "type", "metric", "severity", "project")
MAX_FIELDS = 8
MAX_NAME_LENGTH = 128


class GroupByError(ValueError):
    """Facts that cannot be grouped by; the text says which, what is wrong and what is allowed."""


def parse_group_by(data: object) -> tuple[str, ...]:
    """Names of facts from their JSON form, a list; none at all means one group for everything.

    Raises `GroupByError`.
    """
    if not isinstance(data, list | tuple) or len(data) > MAX_FIELDS:
        raise GroupByError(f"must be a list of at most {MAX_FIELDS} names of facts; [] groups everything")
    for index, name in enumerate(data):
        if not isinstance(name, str) or not (name in GROUP_FIELDS or _is_label(name)):
            allowed = f"{', '.join(GROUP_FIELDS)} and {LABEL_PREFIX}<name>"
            raise GroupByError(f"[{index}] is {name!r}; allowed are {allowed}")
        if name in data[:index]:
            raise GroupByError(f"[{index}] is {name!r} a second time")
    return tuple(data)


def _is_label(name: str) -> bool:
    return len(LABEL_PREFIX) < len(name) <= MAX_NAME_LENGTH and name.startswith(LABEL_PREFIX)
