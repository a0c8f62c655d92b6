"""Tables and pages: read back from what they were rendered to, whatever the cells say."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axo.report import Page, Picture, Section, Table

cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
tables = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(cells, min_size=n, max_size=n), st.lists(st.lists(cells, min_size=n, max_size=n), max_size=4)
    )
)
HOSTILE = (["<script>alert(1)</script>", "a|b"], [["\"'>&amp;", "{{ page }}"], ["{% raw %}", "`|`"]])


class Reader(HTMLParser):
    """The cells, the tags and every address of a page."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.addresses, self._cell = [], set(), [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self._cell)
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data


@given(tables)
@example(HOSTILE)
def test_html_shows_what_was_given_and_nothing_else(table):
    header, rows = table
    found = Reader(Page(header[0], [Section(header[0], header, Table(header, rows), header)]).html())
    assert found.rows == [list(header), *map(list, rows)]
    assert found.tags <= {
        "html", "head", "meta", "title", "style", "body", "section", "div",
        "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li",
    }  # fmt: skip
    assert not found.addresses


@given(tables)
@example(HOSTILE)
def test_markdown_tables_keep_their_columns(table):
    header, rows = table
    lines = Page("t", [Section(table=Table(header, rows))]).markdown().splitlines()[2:]
    split = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    expected = [[cell.replace("|", "\\|").strip() for cell in row] for row in (header, *rows)]
    # A cell that ends in a backslash is the one thing that such a split cannot tell from an escaped bar.
    if not any(cell.endswith("\\") or "\\|" in cell for row in (header, *rows) for cell in row):
        assert [split[0], *split[2:]] == expected
        assert split[1] == ["---"] * len(header)


def test_pictures_are_in_the_page():
    html = Page("t", pictures=[Picture(b"\x89PNG", 'a "caption"')]).html()
    assert Reader(html).addresses == ["data:image/png;base64,iVBORw=="]
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("a &#34;caption&#34;") == 2


@pytest.mark.parametrize(("passed", "mark"), [(True, 'class="good"'), (False, 'class="bad"'), (None, None)])
def test_a_verdict_is_marked(passed, mark):
    html = Page("t", text=["so it is"], passed=passed).html()
    assert f"<p{' ' + mark if mark else ''}>so it is</p>" in html


PAGE = Page(
    "Title",
    [
        Section("First", ["About.", "More."], Table(["a", "b"], [["x", "1"], ["", "22"]]), after=["After."]),
        Section(items=["one", "two"]),
    ],
    ["Lead."],
)


def test_markdown_by_hand():
    assert PAGE.markdown() == (
        "# Title\n\nLead.\n\n## First\n\nAbout.\n\nMore.\n\n| a | b |\n|---|---|\n| x | 1 |\n| | 22 |\n\n"
        "After.\n\n- one\n- two\n"
    )


def test_terminal_by_hand():
    assert PAGE.terminal() == (
        "Lead.\n\nFirst\nAbout.\nMore.\n  a   b\n  x   1\n     22\nAfter.\n\n  one\n  two"
    )


def test_columns_are_aligned_as_asked():
    assert Table(["n", "t", "v"], [["1", "long", "10"], ["22", "s", "5\n6"]], "rlr").text() == (
        " n  t       v\n 1  long   10\n22  s     5 6"
    )


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a row has 1 cells, the header 2"):
        Table(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="align 'lc'"):
        Table(["a", "b"], [], "lc")
