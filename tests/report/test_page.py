import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tacita.files import write_text
from tacita.measures.ranks import operating
from tacita.model.metrics import Metrics
from tacita.report import analysis, page
from tacita.report.content import ReportContent, SampleError
from tacita.report.markdown import summary

SECTIONS = [
    "leaderboard",
    "pretrainings",
    "held-out",
    "data",
    "map",
    "classes",
    "thresholds",
    "calibration",
    "regression",
    "groups",
    "errors",
    "suspects",
    "importance",
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
        return self.drawn["figures"]

    @property
    def drawn(self):
        (text,) = [text for kind, text in self.scripts if kind == "application/json"]
        return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def read():
    return lambda content: Reader(page.render(content))


def test_a_full_page_has_every_section_it_has_content_for(read, full):
    got = read(full)
    assert [s for s in got.sections if s] == [s for s in SECTIONS if s != "regression"]
    assert set(got.specs) == {
        "leaderboard", "curve-0", "curve-1", "curve-2", "map", "confusion", "calibration",
        "roc", "precision", "importance",
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
    rows = [row.model_copy(update={"rank": None}) for row in full.metrics.leaderboard]
    assert "Rank</th>" not in page.render(ReportContent("none", metrics=Metrics(leaderboard=rows)))


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
    blind = [
        row.model_copy(update={"probe": None, "knn": None}) for row in full.metrics.pretrainings
    ]
    without = table(ReportContent("no labels", metrics=Metrics(pretrainings=blind)))
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


def test_what_no_encoding_likes_is_written_all_the_same(tmp_path, hostile):
    write_text(tmp_path / "report.html", page.render(hostile))
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_every_control_is_reached_by_a_keyboard_and_has_a_name(full):
    text = page.render(full)
    for control in re.findall(r"<(button|input|select)([^>]*)>", text):
        assert "tabindex" not in control[1]
    assert re.search(
        r'<label for="threshold">.*?<input type="range" id="threshold"', text, re.DOTALL
    )
    assert 'role="status"' in text
    assert text.count("data-map=") == 7
    scrolled = re.findall(r'<div class="scroll"([^>]*)>', text)
    assert scrolled
    assert all('tabindex="0"' in each and "aria-label" in each for each in scrolled)


def test_thresholds_are_tabulated_without_scripts():
    curve = operating(
        "ill", np.array([0.95, 0.65, 0.45, 0.05]), np.array([True, False, True, False])
    )
    text = page.render(ReportContent("x", classes=("ill", "well"), operating=[curve]))
    table = text[text.index("What comes of each threshold") : text.index("Areas under")]
    rows = re.findall(r'row">([\d.]+)</th>' + r'<td class="n">([^<]*)</td>' * 3, table)
    assert rows[0] == ("0.9", "50.0%", "100.0%", "0.0%")
    assert rows[3] == ("0.6", "50.0%", "50.0%", "50.0%")
    assert rows[-1] == ("0.1", "100.0%", "66.7%", "50.0%")


def test_the_markdown_summary_says_the_same_and_stays_inert(full, hostile):
    text = summary(full)
    assert "| fixmatch (kept) | 96.0% | 91.0% to 100.0% |" in text
    assert "| accuracy | 95.8% | 93.7% to 97.2% |" in text
    assert "pixel 3" in text
    assert "Knowing only how common the answers are: 11.0%." in text
    # An indented line is code, in which nothing is Markdown.
    bad = "\n".join(line for line in summary(hostile).splitlines() if line[:4] != "    ")
    assert not re.search(r"(?<!\\)[<>]", bad)
    assert "\n" not in bad.splitlines()[0]
    widths = {line.count("|") - line.count("\\|") for line in bad.splitlines() if line[:1] == "|"}
    assert widths <= {3, 4, 6}
