"""`${VAR}` and `${VAR:-default}` in string values, as a shell would; `$${` stands for the characters `${`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<has_default>:-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Expansion:
    text: str
    unset: tuple[str, ...] = ()
    """Variables that have neither a value nor a default; they expanded to nothing."""


def expand(text: str, env: Mapping[str, str]) -> Expansion:
    """Expand in one pass: what a variable holds is taken literally, even when it looks like a reference.

    As in a shell, `:-` also replaces a variable that is set but empty. Raises ValueError on a malformed reference.
    """
    unset: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["body"] is None:
            return "${"
        body = _BODY.fullmatch(match["body"])
        if body is None or not match["end"]:
            raise ValueError(
                f'has a malformed reference "{match[0]}"; write ${{NAME}} or ${{NAME:-default}}, '
                "and $${ for the characters themselves"
            )
        value = env.get(body["name"], "")
        if not value and not body["has_default"]:
            unset.append(body["name"])
        return value or body["default"] or ""

    return Expansion(_REFERENCE.sub(replace, text), tuple(dict.fromkeys(unset)))
