"""Links between the pages of the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, all_pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that its headings get, as GitHub makes them."""
    found = set()
    for heading in HEADING.findall(page.read_text(encoding="utf-8")):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", all_pages())
def test_links_lead_to_files_and_headings(page: str) -> None:
    path = ROOT / page
    broken = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = path if not target else path.parent / target
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[str] = set()
    ahead = ["docs/README.md"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        path = ROOT / page
        for link in LINK.findall(path.read_text(encoding="utf-8")):
            target = link.partition("#")[0]
            if "://" in link or not target.endswith(".md"):
                continue
            reached = (path.parent / target).resolve().relative_to(ROOT).as_posix()
            if reached.startswith("docs/") and reached not in seen:
                ahead.append(reached)
    assert {page for page in all_pages() if page != "README.md"} - seen == set()
