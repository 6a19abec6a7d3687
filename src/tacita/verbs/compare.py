"""Comparing as a verb: several methods on the same splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from tacita.catalog.options import taking
from tacita.catalog.plain import plain
from tacita.data.reading import Reading
from tacita.model.model import Model
from tacita.verbs.common import told
from tacita.verbs.fit import fit
from tacita.verbs.options import Running, VerbOptions


@taking(Reading, Running)
def compare(
    data: Any,
    methods: str | Sequence[str],
    y: Any = None,
    *,
    start: Model | str | Path | None = None,
    test: Any = None,
    unlabelled: Any = None,
    labels_per_class: int | None = None,
    draws: int | None = None,
    metric: str | None = None,
    **options: Unpack[VerbOptions],
) -> Model:
    """Several recipes, methods or YAML files on the same splits; all else is as in `tacita.fit`.

    methods: their names, or one text with commas between them.

    The best is refitted on all labels and given back, as `fit` does. Methods that pretrain need no
    labels: they are compared by what their encoders are found to be.

    Raises `DataError` and `ConfigError` before training starts.

    >>> from tacita.modalities.load import load
    >>> model = compare(load("wine"), "label-spreading,logistic-regression", quiet=True)
    >>> sorted(row.name for row in model.metrics.leaderboard)
    ['label-spreading', 'logistic-regression']
    """
    told(compare, options)
    names = methods.split(",") if isinstance(methods, str) else list(plain(methods))
    return fit(
        data,
        y,
        recipe=names,
        start=start,
        test=test,
        unlabelled=unlabelled,
        labels_per_class=labels_per_class,
        draws=draws,
        metric=metric,
        **options,
    )
