"""The documentation: complete in its navigation, built strictly, and every internal link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
UNDONE = ("Isolation Forest", "Autoencoders", "NATS", "Pulsar", "Grafana plugin")


def anchors(page: Path) -> set[str]:
    """Of the headings, as both GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower() for heading in headings)
    return {re.sub(r"\s+", "-", word) for word in words}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_what_contributors_look_for_is_there() -> None:
    for name in ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"):
        assert (ROOT / name).stat().st_size > 500
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:500]


@pytest.mark.parametrize("name", UNDONE)
def test_the_roadmap_names_what_is_not_done(name: str) -> None:
    assert name in (ROOT / "docs" / "roadmap.md").read_text()


@pytest.mark.verify
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "detection" / "index.html").is_file()
