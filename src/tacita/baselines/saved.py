"""scikit-learn's fitted estimators on disk: a file of arrays, and an estimator made again of them.

No type and no function comes from the file. What an estimator is, its recipe says; the file has the
arrays that it learnt, each of which is checked for shape, type, range and finiteness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tacita.baselines import trees
from tacita.baselines.arrays import REMEDY, Array, Arrays
from tacita.baselines.neighbours import plain_neighbours
from tacita.data.batch import InputSpec
from tacita.engine.checkpoint import read_tensors, write_tensors
from tacita.errors import CheckpointError

Taken = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How one kind of estimator is taken apart and made again.

    take: the arrays of a fitted one, by name.
    make: fills an unfitted one, given its arrays, how many columns go in, and what the samples are;
        gives how many columns come out.
    """

    take: Callable[[Any], Taken]
    make: Callable[[Any, Arrays, int, InputSpec], int]


def save_estimator(estimator: Any, path: Path) -> None:
    """Write what a fitted estimator has learnt, whole or not at all."""
    arrays = {f"{number}/{name}": value for number, step in enumerate(_steps(estimator))
              for name, value in _form_of(step).take(step).items()}  # fmt: skip
    tensors = {name: torch.as_tensor(_plain(value)) for name, value in arrays.items()}
    write_tensors(path, tensors, {"estimator": _name(estimator)})


def load_estimator(path: Path, like: Any, columns: int, classes: int, spec: InputSpec) -> Any:
    """Fill an unfitted estimator from a file.

    like: of the recipe. columns: how many it is given. classes: of the task, 0 for numbers. Raises
    `CheckpointError` naming the file and the array that is damaged or of another estimator.
    """
    tensors, metadata = read_tensors(path, remedy=REMEDY)
    if metadata.get("estimator") != _name(like):
        held = str(metadata.get("estimator"))[:200]
        raise CheckpointError(f"{path}: holds {held}, not {_name(like)}.", remedy=REMEDY)
    arrays = Arrays(path, {name: _numpy(value) for name, value in tensors.items()}, classes)
    for number, step in enumerate(_steps(like)):
        columns = _form_of(step).make(step, arrays.under(str(number)), columns, spec)
    arrays.all_taken()
    return like


def _steps(estimator: Any) -> list[Any]:
    return [step for _, step in getattr(estimator, "steps", (("", estimator),))]


def _name(estimator: Any) -> str:
    return " ".join(type(step).__name__ for step in _steps(estimator))


def _form_of(step: Any) -> Form:
    return FORMS[type(step).__name__]


def _plain(value: Any) -> Array:
    """Whole numbers as int64, which torch and the file know on every machine; floats as they are."""
    array = np.asarray(value)
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.int64)
    return np.require(array, requirements=["C", "W"])


def _numpy(tensor: torch.Tensor) -> Array:
    # Types that numpy lacks, such as bfloat16, are refused where the array is asked for.
    known = (torch.float32, torch.float64, torch.int64)
    array: Array = tensor.numpy() if tensor.dtype in known else np.empty(tuple(tensor.shape), "V1")
    return array


# Linear models


def _take_linear(fitted: Any) -> Taken:
    known = {"classes": fitted.classes_} if hasattr(fitted, "classes_") else {}
    return {**known, "coef": fitted.coef_, "intercept": fitted.intercept_}


def _make_linear_classifier(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.classes_ = arrays.classes(fewest=2)
    rows = 1 if len(unfitted.classes_) == 2 else len(unfitted.classes_)
    # As logistic regression leaves it in memory: another order gives sums that differ by rounding.
    unfitted.coef_ = np.asfortranarray(arrays.numbers("coef", rows, columns))
    unfitted.intercept_ = arrays.numbers("intercept", rows)
    unfitted.n_features_in_ = columns
    return rows


def _take_ridge(fitted: Any) -> Taken:
    return {**_take_linear(fitted), "coef": np.atleast_2d(fitted.coef_)}


def _make_ridge_classifier(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    rows = _make_linear_classifier(unfitted, arrays, columns, spec)
    if rows == 1:  # of two classes, cross-validated ridge keeps a vector
        unfitted.coef_ = unfitted.coef_[0]
    return rows


def _make_linear(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.coef_ = arrays.numbers("coef", columns)
    unfitted.intercept_ = arrays.numbers("intercept")[()]
    unfitted.n_features_in_ = columns
    return 1


def _make_steps(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """Linear, with a row of coefficients for each of several numbers."""
    unfitted.coef_ = arrays.numbers("coef", None, columns)
    rows = len(unfitted.coef_)
    unfitted.intercept_ = arrays.numbers("intercept", rows)
    unfitted.n_features_in_ = columns
    return rows


# One estimator a target


def _take_several(fitted: Any) -> Taken:
    each = enumerate(fitted.estimators_)
    return {
        f"{at}/{name}": value for at, one in each for name, value in _form_of(one).take(one).items()
    }


def _make_several(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    for number, each in enumerate(unfitted.estimators_):
        _form_of(each).make(each, arrays.under(str(number)), columns, spec)
    return len(unfitted.estimators_)


# Label spreading


def _take_spreading(fitted: Any) -> Taken:
    return {"classes": fitted.classes_, "rows": fitted.X_, "shares": fitted.label_distributions_}


def _make_spreading(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.classes_ = arrays.classes()
    unfitted.X_ = arrays.numbers("rows", None, columns)
    count = len(unfitted.X_)
    # A sample that no label reaches has shares of nothing in nothing.
    unfitted.label_distributions_ = arrays.numbers(
        "shares", count, len(unfitted.classes_), nan=True
    )
    if count < unfitted.n_neighbors:
        raise arrays.wrong("rows", f"are {count}, fewer than {unfitted.n_neighbors} neighbours")
    unfitted.n_features_in_ = columns
    plain_neighbours(unfitted)
    return len(unfitted.classes_)


# What stands before a model in a pipeline


def _make_weights(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.idf_ = arrays.numbers("idf", columns)
    unfitted.n_features_in_ = columns
    return columns


def _make_directions(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.components_ = arrays.numbers("components", None, columns)
    unfitted.n_features_in_ = columns
    # There are fewer where there are fewer texts.
    found = len(unfitted.components_)
    if not 1 <= found <= unfitted.n_components:
        raise arrays.wrong("components", f"are {found}, not 1 to {unfitted.n_components}")
    return found


def _make_scale(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.scale_ = arrays.numbers("scale", columns)
    if (unfitted.scale_ == 0).any():
        raise arrays.wrong("scale", "holds zeros")
    unfitted.n_features_in_ = columns
    return columns


ROCKET = ("kernels_a_pair", "channels", "dilations", "features_a_dilation", "biases")


def _take_rocket(fitted: Any) -> Taken:
    return dict(zip(ROCKET, fitted.parameters, strict=True))


def _make_rocket(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """MiniRocket's parameters are those of its 84 kernels on series of this shape."""
    length, channels = spec.shape
    dilations = arrays.whole("dilations", None, least=1, below=(length - 1) // 8 + 1)
    if not len(dilations):
        raise arrays.wrong("dilations", "are none")
    a_dilation = arrays.whole("features_a_dilation", len(dilations))
    a_pair = arrays.whole("kernels_a_pair", 84 * len(dilations), least=1, below=channels + 1)
    indices = arrays.whole("channels", int(a_pair.sum()), below=channels)
    biases = arrays.numbers("biases", 84 * int(a_dilation.sum()))
    if not len(biases) or biases.dtype != np.float32:
        raise arrays.wrong("biases", "are none, or not of float32")
    found = (a_pair, indices, dilations, a_dilation)
    unfitted.parameters = (*(array.astype(np.int32) for array in found), biases)
    unfitted.is_fitted = True
    unfitted._n_jobs = 1
    return len(biases)


def _make_quant(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """Its intervals are those of the length, so that nothing of it is in the file."""
    length, channels = spec.shape
    return int(unfitted.fit_transform(np.zeros((2, channels, length), np.float32)).shape[1])


def _nothing(fitted: Any) -> Taken:
    return {}


def _keep(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    unfitted.n_features_in_ = columns
    return columns


CLASSIFIER = Form(_take_linear, _make_linear_classifier)
RIDGE = Form(_take_ridge, _make_ridge_classifier)
REGRESSOR = Form(_take_linear, _make_linear)
FORMS: dict[str, Form] = {
    **dict.fromkeys(("LogisticRegression", "LinearSVC"), CLASSIFIER),
    **dict.fromkeys(("RidgeClassifierCV", "SelfTrainedRidge"), RIDGE),
    "LinearDiscriminantAnalysis": CLASSIFIER,
    **dict.fromkeys(("Ridge", "RidgeCV"), REGRESSOR),
    "StepsRidge": Form(_take_linear, _make_steps),
    **dict.fromkeys(
        (
            "RandomForestClassifier",
            "ExtraTreesClassifier",
            "RandomForestRegressor",
            "ExtraTreesRegressor",
        ),
        Form(trees.take_forest, trees.make_forest),
    ),
    **dict.fromkeys(
        ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
        Form(trees.take_boosting, trees.make_boosting),
    ),
    "MultiOutputRegressor": Form(_take_several, _make_several),
    "LabelSpreading": Form(_take_spreading, _make_spreading),
    "TfidfTransformer": Form(lambda fitted: {"idf": fitted.idf_}, _make_weights),
    "TruncatedSVD": Form(lambda fitted: {"components": fitted.components_}, _make_directions),
    "StandardScaler": Form(lambda fitted: {"scale": fitted.scale_}, _make_scale),
    "MiniRocket": Form(_take_rocket, _make_rocket),
    "Quantiles": Form(_nothing, _make_quant),
    "Normalizer": Form(_nothing, _keep),
}
"""By the names of the types; a learner with an estimator of its own adds it here."""
