"""Links of the pages to files of the repository beside docs/ lead to where the repository is published.

A file that is not there stops the build, as a page that is not there does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    folder = Path(config.docs_dir) / Path(page.file.src_uri).parent

    def published(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if target.is_relative_to(config.docs_dir):
            return link[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri} links to {link[1]}, which is not there")
        kind = "tree" if target.is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{target.relative_to(ROOT)}{link[2] or ''})"

    return LINK.sub(published, markdown)
