"""Templates that people write for titles and texts, in a language that can only read what it is given.

Jinja2's immutable sandbox keeps a template from reaching Python. It does not keep it from using up memory or time,
so here is only what a message needs: no calls, no assignments, no imports, no ranges; loops that are counted, filters
that are listed, and results that are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SOURCE = 4_000
MAX_RESULT = 16_000
MAX_ROUNDS = 2_000
"""Of all loops of one rendering together: a hundred anomalies, each with its labels."""
MAX_SECONDS = 0.5
FORBIDDEN: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Call, "calls nothing: use a filter, as in {{ anomaly.value|round(1) }}"),
    (nodes.Assign, "sets no variables"),
    (nodes.AssignBlock, "sets no variables"),
    (nodes.Macro, "defines no macros"),
    (nodes.CallBlock, "calls nothing"),
    (nodes.FilterBlock, "filters values, not blocks"),
    (nodes.With, "sets no variables"),
    (nodes.Include, "includes nothing"),
    (nodes.Import, "imports nothing"),
    (nodes.FromImport, "imports nothing"),
    (nodes.Extends, "extends nothing"),
    (nodes.Block, "defines no blocks"),
    (nodes.Pow, "knows no powers"),
    (nodes.ScopedEvalContextModifier, "changes no settings"),
)
# fmt: off
BUILT_IN_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "list", "lower", "reverse", "round", "sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode",
)
# fmt: on


class TemplateProblem(ValueError):
    """A template cannot be used; its text says why and, where known, in which line."""


@dataclass
class Budget:
    """What one rendering may use up."""

    rounds: int = MAX_ROUNDS
    end: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def spend(self, rounds: int = 0) -> None:
        self.rounds -= rounds
        if self.rounds < 0:
            raise TemplateProblem(f"its loops take more than {MAX_ROUNDS} rounds")
        if time.monotonic() > self.end:
            raise TemplateProblem(f"it takes longer than {MAX_SECONDS:g} s")


_budget: ContextVar[Budget] = ContextVar("budget")


def render(source: str, context: Mapping[str, object]) -> str:
    """The text that the template makes of `context`. Raises `TemplateProblem`."""
    template = _compiled(source)
    token = _budget.set(Budget())
    try:
        return "".join(_measured(template.generate(**context)))
    except TemplateProblem:
        raise
    except TemplateError as error:
        raise TemplateProblem(error.message or type(error).__name__) from None
    except Exception as error:  # noqa: BLE001 (a value of the wrong type raises what it likes)
        raise TemplateProblem(f"{type(error).__name__}: {error}"[:200]) from None
    finally:
        _budget.reset(token)


def _measured(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        _budget.get().spend()
        size += len(piece)
        if size > MAX_RESULT:
            raise TemplateProblem(f"it makes more than {MAX_RESULT} characters")
        yield piece


@lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    if len(source) > MAX_SOURCE:
        raise TemplateProblem(f"it has {len(source)} characters; {MAX_SOURCE} are allowed")
    try:
        return _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise TemplateProblem(f"{error.message} (line {error.lineno})") from None
    except (TemplateError, SyntaxError, RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise TemplateProblem(f"it cannot be read: {type(error).__name__}") from None


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for kind, why in FORBIDDEN:
            found = tree.find(kind)
            if found is not None:
                raise TemplateSyntaxError(f"a template {why}", found.lineno, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateSyntaxError("a template has no recursive loops", loop.lineno, name, filename)
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        # Texts could be multiplied, formatted to any width and lists doubled.
        for value in (left, right):
            if not isinstance(value, int | float):
                raise TemplateProblem(f"{operator} is for numbers, not for {_kind(value)}; texts are joined by ~")
        return super().call_binop(context, operator, left, right)


def _kind(value: object) -> str:
    names = {str: "a text", list: "a list", dict: "a mapping", type(None): "an unknown value", datetime: "a time"}
    return names.get(type(value), "such a value")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _budget.get().spend(rounds=1)
        yield value


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, with its time counted and its result measured."""

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        _budget.get().spend()
        result = function(*args, **kwargs)
        if hasattr(result, "__len__") and len(result) > MAX_RESULT:
            raise TemplateProblem(f"a filter makes more than {MAX_RESULT} characters")
        return result

    return checked


def _join(values: Iterable[object], separator: str = "") -> str:
    """The values as texts, with the separator between them."""
    return str(separator)[:100].join(str(value)[:1000] for value in list(values)[:1000])


def _number(value: float | None, digits: int = 4) -> str:
    """A number as people write it, with thousands apart and as many digits as tell something; "-" for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{min(max(int(digits), 1), 15)}g}"


def _time(value: datetime, style: str = "%Y-%m-%d %H:%M UTC") -> str:
    """A time in UTC, in the style of strftime."""
    return value.astimezone(UTC).strftime(str(style)[:100])


def _said(value: object) -> object:
    if isinstance(value, str | int | float | datetime | list | tuple | dict | StrictUndefined | None):
        return value
    raise TemplateProblem("it names something that is no value")


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, optimized=False, autoescape=False, finalize=_said)
    environment.globals.clear()
    filters = {name: FILTERS[name] for name in BUILT_IN_FILTERS} | {
        "join": _join,
        "number": _number,
        "time": _time,
    }
    environment.filters = {name: _checked(function) for name, function in filters.items()}
    environment.filters["_counted"] = _counted
    return environment


_ENVIRONMENT = _environment()
