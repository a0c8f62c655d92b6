"""A page of sections, and its renderings: templates/page.txt, page.md and page.html.

The HTML is one file that asks for nothing outside itself, and escapes all that it is given. Paragraphs
may hold inline Markdown, which only the Markdown rendering gives a meaning.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from axo.report.table import Table, one_line

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Picture:
    """PNG bytes and what they show."""

    png: bytes
    caption: str

    @property
    def uri(self) -> str:
        """The picture itself as an address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Section:
    """Under a `title` (none: ""): paragraphs of `text`, a `table`, list `items`, paragraphs `after` these."""

    title: str = ""
    text: Sequence[str] = ()
    table: Table | None = None
    items: Sequence[str] = ()
    after: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A `title`, paragraphs of `text`, `pictures` (in HTML alone) and sections.

    `passed` marks the text as a verdict: good or bad; None: it is none.
    """

    title: str
    sections: Sequence[Section] = ()
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    passed: bool | None = None

    def html(self) -> str:
        """One self-contained HTML page."""
        return _render("page.html", self)

    def markdown(self) -> str:
        """Markdown, without the pictures."""
        return _render("page.md", self).rstrip("\n") + "\n"

    def terminal(self) -> str:
        """Text for a terminal, without title and pictures; no newline at the end."""
        return _render("page.txt", self).strip("\n")


def _render(template: str, page: Page) -> str:
    return _environment().get_template(template).render(page=page)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("axo.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown_cell"] = lambda cell: one_line(cell).replace("|", "\\|")
    return environment
