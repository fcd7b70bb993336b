"""For the documentation site: links that leave the pages of the site lead to the source instead, and say so plainly."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

# Pages of the project's root are part of its documentation, but lie outside the folder of the site.
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn a link out of ``docs`` into the name of the file; mkdocs would warn that it finds no such page."""
    here = PurePosixPath(page.file.src_uri).parent

    def plain(match: re.Match[str]) -> str:
        depth = len(here.parts)
        climbs = match[2].count("../")
        if climbs <= depth:
            return match[0]
        target = match[2].split("../")[-1]
        return f"{match[1]} (`{target}`)" if target not in match[1] else f"`{target}`"

    return _LINK.sub(plain, markdown)
