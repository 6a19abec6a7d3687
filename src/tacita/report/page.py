"""The page itself: content into one HTML file that needs nothing from the network.

Names and labels come from strangers' files. The template escapes everything, figures travel as
JSON with `<`, `>` and `&` escaped, and the page's own policy lets run only the two scripts whose
hashes it names, so that text can never become code.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from plotly.offline import get_plotlyjs

from tacita.errors import TacitaError
from tacita.report import figures, samples, words
from tacita.report.content import ReportContent, SampleError
from tacita.report.figures import Figure

ERRORS: Final = 24
CURVES: Final = 12
CLASS_ROWS: Final = 200


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
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            content=content,
            figures=drawn,
            curves=[key for key in drawn if key.startswith("curve-")],
            specs={key: figure.spec for key, figure in drawn.items()},
            errors=[_shown(error) for error in content.errors[:ERRORS]],
            per_class=_rows(content),
            style=_own("style.css"),
            scripts=scripts,
            policy=_policy([script for script in scripts.values() if script]),
        )
    )


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write the page to a file, whole or not at all; an older page stays until the new one is there.

    Raises `TacitaError` where the file cannot be written.
    """
    path = Path(path)
    page = render(content).encode("utf-8", "replace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TacitaError(
            f"{path}: the report could not be written: {error.strerror}.",
            remedy="Name a folder that exists, can be written to and has 10 MB free.",
        ) from error
    return path


def _figures(content: ReportContent) -> dict[str, Figure]:
    drawn: dict[str, Figure | None] = {"leaderboard": figures.leaderboard(content.leaderboard)}
    for place, (name, history) in enumerate(list(content.curves.items())[:CURVES]):
        drawn[f"curve-{place}"] = figures.learning_curve(name, history)
    if content.map is not None:
        drawn["map"] = figures.embedding_map(content.map, content.classes)
    if content.confusion is not None:
        drawn["confusion"] = figures.confusion(content.confusion, content.classes)
    if content.calibration is not None:
        drawn["calibration"] = figures.calibration(content.calibration)
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
        loader=jinja2.PackageLoader("tacita.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "score": lambda value, metric: words.score(metric, value),
        "metric": words.metric_name,
        "number": words.number,
        "figure": lambda value: words.UNKNOWN if value is None else words.number(value),
        "duration": words.duration,
        "megabytes": words.megabytes,
        "shorten": words.shorten,
    }
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals["limits"] = {"errors": ERRORS, "curves": CURVES, "class_rows": CLASS_ROWS}
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
