"""The page itself: content into one HTML file that needs nothing from the network.

Names and labels come from strangers' files. The template escapes everything, figures travel as
JSON with `<`, `>` and `&` escaped, and the page's own policy lets run only the two scripts whose
hashes it names, so that text can never become code.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from plotly.offline import get_plotlyjs

from tacita.measures.ranks import Operating
from tacita.report import figures, samples, words
from tacita.report.content import ReportContent, SampleError
from tacita.report.figures import Figure
from tacita.report.figures.spec import plain

ERRORS: Final = 24
CURVES: Final = 12
CLASS_ROWS: Final = 200
GROUPS: Final = 50


@dataclass(frozen=True)
class _Error:
    error: SampleError
    shown: samples.Picture | samples.Sketch | samples.Cells | samples.Passage | None
    kind: str

    @property
    def bar(self) -> float:
        """Length of the confidence bar, in per cent."""
        sure = self.error.confidence
        return round(100 * sure, 1) if sure is not None and math.isfinite(sure) else 0.0


def render(content: ReportContent) -> str:
    """The page as HTML. Sections without content are left out; large ones are bounded and say so.

    >>> "<h1>digits &lt;b&gt;</h1>" in render(ReportContent("digits <b>"))
    True
    """
    drawn = _figures(content)
    scripts = {"plotly": _plotly() if drawn else "", "page": _own("page.js")}
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            content=content,
            metrics=content.metrics,
            figures=drawn,
            curves=[key for key in drawn if key.startswith("curve-")],
            forecasts=[key for key in drawn if key.startswith("forecast-")],
            drawn={
                "figures": {key: figure.spec for key, figure in drawn.items()},
                "operating": [_plain(curve) for curve in content.operating],
            },
            errors=[_shown(error) for error in content.errors[:ERRORS]],
            suspects=[_shown(error) for error in content.suspects[:ERRORS]],
            per_class=_rows(content),
            thresholds=_thresholds(content),
            floor=_floor(content),
            style=_own("style.css"),
            scripts=scripts,
            policy=_policy([script for script in scripts.values() if script]),
        )
    )
    # A file name may hold half a character, which no page can.
    return page.encode("utf-8", "replace").decode()


def _plain(curve: Operating) -> dict[str, Any]:
    names = ("threshold", "recall", "false_alarms", "precision")
    return {"name": curve.name, "positives": curve.positives, "negatives": curve.negatives} | {
        name: plain(getattr(curve, name)) for name in names
    }


def _thresholds(content: ReportContent) -> list[tuple[float, float, float, float]]:
    """Threshold, recall, precision and false alarms of the first curve at nine thresholds."""
    if not content.operating:
        return []
    curve = content.operating[0]
    found = []
    for at in range(9, 0, -1):
        taken = int((curve.threshold >= at / 10).sum()) - 1
        if taken < 0:
            found.append((at / 10, 0.0, math.nan, 0.0))
            continue
        recall, precision = float(curve.recall[taken]), float(curve.precision[taken])
        found.append((at / 10, recall, precision, float(curve.false_alarms[taken])))
    return found


def _floor(content: ReportContent) -> list[str]:
    """What is had for nothing in the leaderboard's figure, in words."""
    rows = content.metrics.leaderboard
    metric = rows[0].metric if rows else ""
    majority, chance = (
        (content.metrics.majority or {}).get(metric),
        content.metrics.chance.get(metric),
    )
    said = []
    if majority is not None:
        said.append(
            f"knowing only how common the answers are gives {words.score(metric, majority)}"
        )
    if chance is not None:
        said.append(f"guessing blindly gives {words.score(metric, chance)}")
    return said


def _figures(content: ReportContent) -> dict[str, Figure]:
    drawn: dict[str, Figure | None] = {"leaderboard": figures.leaderboard(content.metrics)}
    for place, (name, history) in enumerate(list(content.curves.items())[:CURVES]):
        drawn[f"curve-{place}"] = figures.learning_curve(name, history)
        drawn[f"rate-{place}"] = figures.learning_rate(name, history)
    if content.map is not None:
        drawn["map"] = figures.embedding_map(content.map, content.classes)
    if content.confusion is not None:
        drawn["confusion"] = figures.confusion(content.confusion, content.classes)
    if content.calibration is not None:
        drawn["calibration"] = figures.calibration(content.calibration)
    drawn["roc"] = figures.roc(content.operating)
    drawn["precision"] = figures.precision_and_recall(content.operating)
    drawn["importance"] = figures.importance(content.importance, content.importance_metric)
    for place, figure in enumerate(figures.forecasts(content.courses)):
        drawn[f"forecast-{place}"] = figure
    if content.ahead is not None:
        drawn["ahead"] = figures.error_by_step(content.ahead)
    if content.regression is not None:
        drawn["regression"] = figures.predicted_against_true(content.regression)
    return {key: figure for key, figure in drawn.items() if figure is not None}


def _shown(error: SampleError) -> _Error:
    shown = samples.shown(error.sample)
    return _Error(error, shown, type(shown).__name__.lower())


def _rows(content: ReportContent) -> list[Any]:
    rows = list(content.per_class)
    if len(rows) > CLASS_ROWS:
        rows = sorted(rows, key=lambda row: row.f1 if row.f1 == row.f1 else -1.0)[:CLASS_ROWS]
    return rows


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tacita.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "score": lambda value, metric: (
            words.UNKNOWN if value is None else words.score(metric, value)
        ),
        "metric": words.metric_name,
        "number": words.number,
        "figure": lambda value: words.UNKNOWN if value is None else words.number(value),
        "duration": words.duration,
        "megabytes": words.megabytes,
        "shorten": words.shorten,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "between": lambda interval, metric: words.between(metric, interval),
    }
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals["limits"] = {
        "errors": ERRORS,
        "curves": CURVES,
        "class_rows": CLASS_ROWS,
        "groups": GROUPS,
    }
    return environment


@cache
def _plotly() -> str:
    return str(get_plotlyjs()).replace("\r\n", "\n")


@cache
def _own(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def _policy(scripts: list[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
