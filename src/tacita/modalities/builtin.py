"""Real data that installed packages ship: nothing is downloaded.

Series come with the split their archive publishes: the positions of the test part stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tacita.data.dataset import Dataset
from tacita.data.reading import Reading
from tacita.errors import ConfigError, DataError, MissingExtraError
from tacita.modalities.finish import finish
from tacita.modalities.images.read import image_array
from tacita.modalities.series.read import series_list
from tacita.modalities.tables.read import row_array
from tacita.words import nearest

_SERIES = {
    "acsf1": "ACSF1",
    "arrow-head": "ArrowHead",
    "basic-motions": "BasicMotions",
    "gunpoint": "GunPoint",
    "italy-power-demand": "ItalyPowerDemand",
    "japanese-vowels": "JapaneseVowels",
    "osu-leaf": "OSULeaf",
    "pickup-gesture-wiimote-z": "PickupGestureWiimoteZ",
}


def load_builtin(name: str) -> tuple[Dataset, Tensor | None]:
    """A built-in data set, and the positions `(T,)` of its published test part if it has one.

    Raises `ConfigError` for an unknown name, `MissingExtraError` where a series set needs aeon.

    >>> data, test = load_builtin("wine")
    >>> len(data), data.task.classes, test
    (178, ('class_0', 'class_1', 'class_2'), None)
    """
    if name not in BUILTIN:
        near = nearest(name, BUILTIN)
        raise ConfigError(
            f"{name!r} is not a built-in data set.",
            remedy=f"Did you mean {near!r}?" if near else f"There are: {', '.join(BUILTIN)}.",
        )
    return BUILTIN[name](name)


def _digits(name: str) -> tuple[Dataset, None]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    samples = replace(image_array(x, source=name), labels=bunch.target)
    return finish(samples, Reading()), None


def _table(loader: str, task: str) -> Callable[[str], tuple[Dataset, None]]:
    def load(name: str) -> tuple[Dataset, None]:
        from sklearn import datasets

        bunch = getattr(datasets, loader)()
        columns = tuple(str(column) for column in bunch.feature_names)
        x = np.asarray(bunch.data)
        names = bunch.get("target_names")  # of classes; numbers have none
        y = bunch.target if names is None else names[bunch.target]
        samples = row_array(x, missing="refuse", source=name)
        facts = {"columns": columns, "categories": ((),) * len(columns)}
        samples = replace(samples, labels=y, meta=samples.meta.model_copy(update=facts))
        return finish(samples, Reading(task=task), target="target"), None

    return load


def _series(name: str) -> tuple[Dataset, Tensor]:
    try:
        from aeon import datasets
    except ImportError as error:
        raise MissingExtraError("aeon", "series") from error
    folder = Path(datasets.__file__).parent / "data" / _SERIES[name]
    if not folder.is_dir():
        raise DataError(
            f"{name}: the installed version of aeon does not ship {_SERIES[name]}.",
            remedy="Use another built-in set, or another version of aeon.",
        )
    x_train, y_train = datasets.load_from_ts_file(str(folder / f"{_SERIES[name]}_TRAIN.ts"))
    x_test, y_test = datasets.load_from_ts_file(str(folder / f"{_SERIES[name]}_TEST.ts"))
    items = [np.ascontiguousarray(np.asarray(series).T) for series in (*x_train, *x_test)]
    samples = series_list(items, missing="refuse", source=name)
    samples = replace(samples, labels=np.concatenate([y_train, y_test]))
    data = finish(samples, Reading())
    return data, torch.arange(len(x_train), len(data))


BUILTIN: dict[str, Callable[[str], tuple[Dataset, Tensor | None]]] = {
    "digits": _digits,
    "breast-cancer": _table("load_breast_cancer", "classification"),
    "wine": _table("load_wine", "classification"),
    "diabetes": _table("load_diabetes", "regression"),
    **dict.fromkeys(_SERIES, _series),
}
"""The names there are, and what reads each."""
