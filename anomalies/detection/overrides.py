"""What operators set differently for some series: rules with patterns, and what they come to for one series.

Every rule that matches a series speaks, the most specific last, so that it has the last word in what it says: a rule
for an exact service comes after one for a pattern of services, that after one for all of them; among equals the model
decides in the same way, then the metric; then a rule of one project comes after one of all, and a younger rule after
an older one. Of two patterns the one with more literal characters is the more specific.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from anomalies.detection.settings import DETECTORS
from baselines.stats.series import METRICS

SENSITIVITIES: tuple[str, ...] = ("low", "medium", "high")
DIRECTIONS: tuple[str, ...] = ("up", "down", "both")
MAX_THRESHOLD = 1e6
MAX_DEVIATION = 100.0


class Rule(msgspec.Struct, frozen=True):
    """One override as an operator wrote it. None, or a name that is missing, leaves things as they are."""

    service: str = "*"
    model: str = "*"
    metric: str = "*"
    detectors: dict[str, bool] = {}
    sensitivity: str | None = None
    thresholds: dict[str, float] = {}
    direction: str | None = None
    min_deviation: float | None = None
    muted: bool | None = None
    project: str | None = None

    @property
    def specificity(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], bool]:
        """Sorts rules so that the most specific comes last."""
        exactness = (_exactness(pattern) for pattern in (self.service, self.model, self.metric))
        service, model, metric = exactness
        return service, model, metric, self.project is not None


RULE_FIELDS = tuple(name for name in Rule.__struct_fields__ if name != "project")


class Override(msgspec.Struct, frozen=True):
    """What holds for one series. Hashable: series with equal overrides can share what is made of them."""

    detectors: tuple[tuple[str, bool], ...] = ()
    sensitivity: str | None = None
    thresholds: tuple[tuple[str, float], ...] = ()
    direction: str | None = None
    min_deviation: float | None = None
    muted: bool = False

    def runs(self, detector: str, *, configured: bool) -> bool:
        """Whether a detector runs, where the configuration says `configured`."""
        return dict(self.detectors).get(detector, configured)

    def threshold(self, detector: str, configured: float) -> float:
        """The threshold of a detector before sensitivity, where the configuration says `configured`."""
        return dict(self.thresholds).get(detector, configured)

    def admits(self, direction: str) -> bool:
        """Whether departures `up` or `down` count."""
        return self.direction in (None, "both", direction)


NOTHING = Override()


class OverrideSet(msgspec.Struct, frozen=True):
    """All enabled rules as of one moment, in the order in which they speak, and the services of their projects."""

    rules: tuple[Rule, ...] = ()
    services: dict[str, tuple[str, ...]] = {}
    """By project, the names of its services: the pipeline itself knows nothing of projects."""

    @classmethod
    def of(cls, rules: Iterable[Rule], services: Mapping[str, Iterable[str]]) -> OverrideSet:
        """From rules, the oldest first, and the services of the projects that they name."""
        ordered = tuple(sorted(rules, key=lambda rule: rule.specificity))
        owners = sorted({rule.project for rule in ordered if rule.project is not None})
        return cls(ordered, {owner: tuple(sorted(services.get(owner, ()))) for owner in owners})

    @property
    def version(self) -> str:
        """The same text for the same content, on every machine and in every process."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """As JSON, to be kept in a state."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def from_bytes(cls, data: bytes) -> OverrideSet:
        """What `to_bytes` gave. Raises msgspec.DecodeError for anything else."""
        return msgspec.json.decode(data, type=cls)

    def resolve(self, service: str, model: str, metric: str) -> Override:
        """What holds for a series; `NOTHING` where no rule speaks of it."""
        return self.resolve_among(self.about(service, model), metric)

    def about(self, service: str, model: str) -> tuple[int, ...]:
        """The places of the rules that speak of a pair, for some metric: the same for pairs that are treated alike."""
        return tuple(place for place, rule in enumerate(self.rules) if self._speaks_of(rule, service, model))

    def resolve_among(self, places: Iterable[int], metric: str) -> Override:
        """What the rules at these places come to for a metric."""
        said = [self.rules[place] for place in places if matches(self.rules[place].metric, metric)]
        return _merged(said) if said else NOTHING

    def _speaks_of(self, rule: Rule, service: str, model: str) -> bool:
        is_named = matches(rule.service, service) and matches(rule.model, model)
        return is_named and (rule.project is None or service in self.services.get(rule.project, ()))


NO_OVERRIDES = OverrideSet()


def _merged(rules: Sequence[Rule]) -> Override:
    detectors: dict[str, bool] = {}
    thresholds: dict[str, float] = {}
    said: dict[str, Any] = {}
    for rule in rules:
        detectors |= rule.detectors
        thresholds |= rule.thresholds
        values = {name: getattr(rule, name) for name in ("sensitivity", "direction", "min_deviation", "muted")}
        said |= {name: value for name, value in values.items() if value is not None}
    return Override(tuple(sorted(detectors.items())), thresholds=tuple(sorted(thresholds.items())), **said)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, in which `*` stands for any text and all else for itself. In linear time."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == name
    *middle, last = others
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    position, end = len(first), len(name) - len(last)
    for piece in middle:
        position = name.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


def _exactness(pattern: str) -> tuple[int, int]:
    literal = len(pattern.replace("*", ""))
    return (2 if "*" not in pattern else 1 if literal else 0), literal


def rule_problems(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is wrong with the fields of a rule, by field; empty when all is well."""
    found = {name: _pattern_problems(values[name]) for name in ("service", "model", "metric")}
    found["metric"] = found["metric"] or _metric_problems(values["metric"])
    found["detectors"] = _detector_problems(values["detectors"], "true or false", lambda value: isinstance(value, bool))
    allowed = f"a number above 0, at most {MAX_THRESHOLD:g}"
    found["thresholds"] = _detector_problems(values["thresholds"], allowed, _is_threshold)
    for name, choices in (("sensitivity", SENSITIVITIES), ("direction", DIRECTIONS)):
        if values[name] is not None and values[name] not in choices:
            found[name] = [f"{values[name]!r} is not one of {', '.join(choices)}."]
    deviation = values["min_deviation"]
    if deviation is not None and not 0 <= deviation <= MAX_DEVIATION:
        found["min_deviation"] = [f"A fraction of the usual value, 0 to {MAX_DEVIATION:g}: 0.2 is 20 %."]
    return {name: problems for name, problems in found.items() if problems}


def _pattern_problems(pattern: str) -> list[str]:
    if not pattern or pattern != pattern.strip() or not pattern.isprintable():
        return ["A name, or a pattern in which * stands for any text."]
    return []


def _metric_problems(pattern: str) -> list[str]:
    if any(matches(pattern, metric) for metric in METRICS):
        return []
    return [f"No metric is called {pattern!r}; there are {', '.join(METRICS)}."]


def _detector_problems(values: object, allowed: str, is_allowed: Any) -> list[str]:
    if not isinstance(values, dict):
        return [f"An object of detectors, each with {allowed}."]
    unknown = [name for name in values if name not in DETECTORS]
    if unknown:
        return [f"No detector is called {unknown[0]!r}; there are {', '.join(DETECTORS)}."]
    return [f"{name}: {value!r} is not {allowed}." for name, value in values.items() if not is_allowed(value)]


def _is_threshold(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 < value <= MAX_THRESHOLD
