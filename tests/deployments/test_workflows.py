"""The workflows: sound by actionlint, pinned, with as few permissions as they need, and what they call exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
NOTES = ROOT / "deployments" / "release" / "notes"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v?\d+\.\d+\.\d+$")
MAKE = re.compile(r"^make ([a-z][a-z-]*)", re.MULTILINE)


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def scripts(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job.get("steps", []) if "run" in step]


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yaml", "cd.yaml", "deploy.yaml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_foreign_action_is_pinned_by_commit_with_its_version_beside(path: Path) -> None:
    used = [line.strip(" -") for line in path.read_text().splitlines() if "uses:" in line and "uses: ./" not in line]
    assert [line for line in used if not PINNED.match(line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_may_only_read_unless_it_says_what_else_and_always_ends(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in jobs(path).values() if "steps" in job)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_the_steps_call_exists(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = "\n".join(scripts(path))
    programs = re.findall(r"(?<![\w/])(deployments/[\w/-]+|\.ci/run)", text)
    assert set(MAKE.findall(text)) <= set(targets)
    assert [name for name in programs if not os.access(ROOT / name, os.X_OK)] == []


def test_nothing_is_deployed_or_released_before_it_is_checked_scanned_and_signed() -> None:
    needs = {name: set(_listed(job.get("needs", []))) for name, job in jobs(ROOT / ".github/workflows/cd.yaml").items()}
    assert {"check", "image", "scan", "chart"} <= _before("staging", needs)
    assert "staging" in _before("production", needs)
    assert "production" in _before("release", needs)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _before(job: str, needs: dict[str, set[str]]) -> set[str]:
    return needs[job].union(*(_before(other, needs) for other in needs[job]))


def test_release_notes_are_one_version_of_the_changelog_alone(tmp_path: Path) -> None:
    script = tmp_path / "deployments" / "release" / "notes"
    script.parent.mkdir(parents=True)
    shutil.copy2(NOTES, script)
    (tmp_path / "CHANGELOG.md").write_text("# C\n\n## [1.1.0] - 2027\n\n- new\n\n## [1.0.0]\n\n- old\n")
    told = subprocess.run([script, "1.1.0"], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "- new"
    assert subprocess.run([script, "1.1"], capture_output=True, check=False).returncode == 1


@pytest.mark.verify
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"GOBIN": str(tmp_path)}
    subprocess.run(["go", "install", ACTIONLINT], check=True, env=environment, capture_output=True, timeout=900)
    found = subprocess.run([tmp_path / "actionlint", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
