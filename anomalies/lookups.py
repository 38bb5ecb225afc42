"""Comparing a column with a `Pattern`, the same on PostgreSQL and SQLite: `glob` minds case, `iglob` does not.

Django's own lookups for parts of a text ignore case on SQLite, and have no gaps in the middle.
"""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Lookup, TextField

from anomalies.queries.terms import Pattern

_LIKE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})


def like(pattern: Pattern) -> str:
    """As LIKE has it, with the backslash for what is meant literally."""
    return "%".join(part.translate(_LIKE) for part in pattern.parts)


class Glob(Lookup):  # type: ignore[type-arg, misc]
    """Matches the whole text of the left side, case and all."""

    lookup_name = "glob"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return self._compared(compiler, connection, "LIKE %s ESCAPE '\\'", like(self.rhs))

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return self._compared(
            compiler, connection, "GLOB %s", "*".join(part.translate(_GLOB) for part in self.rhs.parts)
        )

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, list[Any]]:
        return "%s", [value]

    def _compared(self, compiler: Any, connection: Any, operation: str, pattern: str) -> tuple[str, list[Any]]:
        left, parameters = self.process_lhs(compiler, connection)
        return f"{left} {operation}", [*parameters, pattern]


class IGlob(Glob):
    """The same for people, who do not mind case."""

    lookup_name = "iglob"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        operator = "ILIKE" if connection.vendor == "postgresql" else "LIKE"
        return self._compared(compiler, connection, f"{operator} %s ESCAPE '\\'", like(self.rhs))

    as_sqlite = as_sql


for _kind in (CharField, TextField):
    _kind.register_lookup(Glob)
    _kind.register_lookup(IGlob)
