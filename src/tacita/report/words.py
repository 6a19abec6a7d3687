"""How figures are written in a report: percentages, durations, sizes, and a dash for what is not known."""

from __future__ import annotations

import math

SHARES = frozenset(
    {
        "accuracy",
        "balanced_accuracy",
        "closed_set_accuracy",
        "macro_f1",
        "segment_f1",
        "precision",
        "recall",
        "f1",
        "ece",
        "coverage_80",
        "coverage_95",
    }
)
"""Metrics that are read as a percentage."""

WITHIN_ONE = {
    **dict.fromkeys((*SHARES, "auc", "unknown_auroc", "dice", "voxel_accuracy"), (0.0, 1.0)),
    **dict.fromkeys(("r2", "quadratic_kappa", "skill"), (-math.inf, 1.0)),
}
"""The least and the most that a metric can be, where it has such an end."""

UNKNOWN = "\N{EN DASH}"

_WRITTEN = {
    "r2": "R²",
    "f1": "F1",
    "ece": "calibration error",
    "unknown_auroc": "unknown AUROC",
    "auc": "AUC",
    "macro_f1": "macro F1",
    "mase": "MASE",
    "owa": "OWA",
    "smape": "sMAPE",
    "coverage_80": "coverage of the 80% interval",
    "coverage_95": "coverage of the 95% interval",
    "segment_f1": "segment F1",
}


def metric_name(metric: str) -> str:
    """A metric's name as a reader would write it.

    >>> metric_name("quadratic_kappa"), metric_name("r2")
    ('quadratic kappa', 'R²')
    """
    return _WRITTEN.get(metric, metric.replace("_", " "))


def score(metric: str, value: float) -> str:
    """A score in its own unit: a percentage for shares, four figures for all else.

    >>> score("accuracy", 0.96), score("r2", 0.5), score("accuracy", float("nan"))
    ('96.0%', '0.5', '–')
    """
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1%}" if metric in SHARES else number(value)


def between(metric: str, interval: tuple[float, float] | None) -> str:
    """An interval in the metric's unit; empty where there is none.

    >>> between("accuracy", (0.7224, 1.0)), between("r2", None)
    ('72.2% to 100.0%', '')
    """
    return (
        "" if interval is None else f"{score(metric, interval[0])} to {score(metric, interval[1])}"
    )


def number(value: object) -> str:
    """A number to four significant figures; anything else as its own text.

    >>> number(1234567), number(0.123456), number(1e-7), number("cat"), number(True)
    ('1,234,567', '0.1235', '1e-07', 'cat', 'True')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return UNKNOWN
    if value.is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as a reader would say them.

    >>> duration(0.42), duration(75), duration(7260), duration(None)
    ('0.42 s', '1 min 15 s', '2 h 1 min', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if round(seconds) < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def megabytes(value: float | None) -> str:
    """A size in MB, or in GB from a thousand on.

    >>> megabytes(312.4), megabytes(2048.0), megabytes(None)
    ('312 MB', '2.0 GB', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.0f} MB" if value < 1000 else f"{value / 1024:.1f} GB"


def shorten(text: str, length: int) -> str:
    """The text, or its two ends about an ellipsis: names often differ in their last letters only.

    >>> shorten("sensor 14", 9), shorten("a/long/path/to/file-07.png", 16)
    ('sensor 14', 'a/long/p…-07.png')
    """
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return text[: length - 1 - end] + "…" + text[len(text) - end :]
