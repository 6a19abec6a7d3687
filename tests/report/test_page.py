import dataclasses
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tacita.errors import TacitaError
from tacita.report import analysis, page
from tacita.report.content import ReportContent, SampleError

SECTIONS = [
    "leaderboard",
    "pretrainings",
    "held-out",
    "data",
    "map",
    "classes",
    "calibration",
    "regression",
    "errors",
    "curves",
    "health",
    "reproduce",
]


class Reader(HTMLParser):
    """What a browser would see: elements, what they would fetch, and each script's text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.handlers, self.scripts, self.sections = [], [], [], [], []
        self.policy, self._script = "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.fetched += [
            v for k, v in attributes if k in ("src", "href", "srcset", "action", "data")
        ]
        self.handlers += [k for k, _ in attributes if k.startswith("on")]
        if tag == "section":
            self.sections.append(given.get("id"))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "script":
            self.scripts.append((given.get("type", ""), ""))
            self._script = len(self.scripts) - 1

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            kind, text = self.scripts[self._script]
            self.scripts[self._script] = (kind, text + data)

    @property
    def specs(self):
        (text,) = [text for kind, text in self.scripts if kind == "application/json"]
        return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def read():
    return lambda content: Reader(page.render(content))


def test_a_full_page_has_every_section_it_has_content_for(read, full):
    got = read(full)
    assert [s for s in got.sections if s] == [s for s in SECTIONS if s != "regression"]
    assert set(got.specs) == {
        "leaderboard", "curve-0", "curve-1", "curve-2", "map", "confusion", "calibration"
    }  # fmt: skip


def test_a_minimal_page_has_no_section_and_no_plotly(full):
    text = page.render(ReportContent("nothing"))
    assert Reader(text).sections == [None]  # the note for readers without scripts
    assert Reader(text).specs == {}
    assert len(text) < 50_000


def test_a_regression_has_no_classes(read, regression):
    got = read(regression)
    assert [s for s in got.sections if s] == [
        "leaderboard",
        "held-out",
        "map",
        "regression",
        "errors",
    ]
    assert "Largest errors" in page.render(regression)


def test_ordinal_grades_stay_in_order(read, ordinal):
    got = read(ordinal)
    axis = got.specs["confusion"]["layout"]["xaxis"]
    assert axis["ticktext"] == ["none", "mild", "moderate", "severe"]
    assert got.tags.count("svg") == 3


@pytest.mark.parametrize("name", ["full", "regression", "ordinal", "hostile"])
def test_nothing_is_fetched_and_nothing_else_may_run(read, request, name):
    got = read(request.getfixturevalue(name))
    assert all(url.startswith(("#", "data:image/png;base64,")) for url in got.fetched)
    assert "default-src 'none'" in got.policy
    assert "img-src data:" in got.policy
    allowed = re.search(r"script-src ([^;]*)", got.policy)[1]
    assert re.fullmatch(r"'sha256-[\w+/=]+' 'sha256-[\w+/=]+'", allowed)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(got.tags)


def test_names_from_strangers_stay_text(read, hostile):
    got = read(hostile)
    assert got.handlers == []
    assert [kind for kind, _ in got.scripts] == ["application/json", "", ""]
    assert got.tags.count("img") == 1  # the one image among the errors
    assert not any("alert(1)" in text for kind, text in got.scripts if not kind)
    assert "javascript:" not in "".join(got.fetched)
    # Plotly reads text as HTML: no name may hold a bare tag there.
    words = [text for text in strings(got.specs) if "alert(1)" in text or "javascript" in text]
    assert words
    own = re.compile(r"</?b>|<br>|<extra></extra>")
    assert not any("<" in own.sub("", text) for text in words)


def strings(node):
    if isinstance(node, str):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from strings(item)


def test_scores_that_are_not_numbers_are_dashes(hostile):
    text = page.render(hostile)
    board = text[text.index("Leaderboard as a table") : text.index("On held-out")]
    assert '<td class="n">\N{EN DASH}</td>' in board
    assert "nan" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).lower()


def test_ranks_stand_where_there_are_some(full):
    board = page.render(full)
    board = board[board.index("Leaderboard as a table") : board.index("Pretrainings as a table")]
    assert board.count("Rank</th>") == 1
    assert '<td class="n">38.2</td>' in board
    rows = [dataclasses.replace(row, rank=None) for row in full.leaderboard]
    assert "Rank</th>" not in page.render(ReportContent("none", leaderboard=rows))


def test_ways_to_pretrain_are_tabulated_with_and_without_labels(full):
    def table(content):
        text = page.render(content)
        start = text.index("Pretrainings as a table")
        return text[start : text.index("</table>", start)]

    with_labels = table(full)
    assert "Probe</th>" in with_labels
    assert [name in with_labels for name in ("kept</span>", "failed</span>")] == [True, True]
    assert with_labels.count("<tr") == 4
    assert with_labels.count('<td class="n">0.947</td>') == 1
    blind = [dataclasses.replace(row, probe=None, knn=None) for row in full.pretrainings]
    without = table(ReportContent("no labels", pretrainings=blind))
    assert "Probe</th>" not in without
    assert '<td class="n">57.3</td>' in without
    assert "None" not in without


def test_errors_are_bounded_and_said_so(read):
    errors = [SampleError(f"s{i}", "a", "b", 0.5) for i in range(60)]
    text = page.render(ReportContent("many", errors=errors))
    assert "The first 24 of 60 are shown." in text
    assert "s23" in text
    assert "s24" not in text


def test_long_class_lists_show_the_weakest(read):
    matrix = 9 * np.eye(300, dtype=np.int64)
    matrix[250, 251] = 3
    rows = analysis.per_class(matrix, [f"class-{k}" for k in range(300)])
    text = page.render(ReportContent("many", per_class=rows))
    assert "The 200 of 300 classes with the lowest F1." in text
    assert "class-250<" in text
    assert text.count('<th scope="row">') == 200


def test_writing_leaves_the_page_and_nothing_else(tmp_path, hostile):
    path = page.write_report(hostile, tmp_path / "report.html")
    assert os.listdir(tmp_path) == ["report.html"]
    assert path.read_text("utf-8").startswith("<!doctype html>")


def test_a_failed_write_keeps_the_older_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("older")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.os, "fsync", full_disk)
    with pytest.raises(TacitaError, match="No space left"):
        page.write_report(ReportContent("new"), path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TacitaError, match=r"missing/report\.html"):
        page.write_report(ReportContent("new"), tmp_path / "missing" / "report.html")
