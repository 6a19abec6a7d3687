"""scikit-learn estimators on disk without pickle: skops, and only the types that baselines use.

A trusted type is not yet a trusted value: compiled code follows the indices in a tree without
looking, so they are looked at here, once, when a file is read.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacita.data.batch import InputSpec
from tacita.errors import CheckpointError
from tacita.files import replacing

TRUSTED = [
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "aeon.transformations.collection.convolution_based._minirocket.MiniRocket",
    "tacita.adapt.supervised_dictionary.estimator.SupervisedDictionary",
]
"""Beyond the types that skops trusts by itself."""

LARGEST = 8 * 2**30
REMEDY = "The folder is damaged or not from tacita; use it as it was saved."


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator, whole or not at all."""
    from skops.io import dump

    with replacing(path) as temporary:
        dump(estimator, temporary)


def load_estimator(path: Path, like: Any, spec: InputSpec) -> Any:
    """Read an estimator of the same type as the unfitted one given, for samples of this shape.

    Raises `CheckpointError` for a damaged file, for a type that no baseline uses, and for trees or
    kernels that point outside of their arrays.
    """
    # Imported when used: it takes two seconds, which no network's prediction should wait for.
    from skops.io import load as skops_load
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise CheckpointError(f"{path}: unpacks to more than {LARGEST} bytes.")
        estimator = skops_load(path, trusted=TRUSTED)
        if _types(estimator) != _types(like):
            raise CheckpointError(
                f"{path}: holds {type(estimator).__name__}, not {type(like).__name__}."
            )
        if not _indices_fit(estimator, spec):
            raise CheckpointError(f"{path}: a part of the model points outside of it.")
    except UntrustedTypesFoundException as error:
        raise CheckpointError(
            f"{path}: holds types that no baseline uses ({error}).", remedy=REMEDY
        ) from error
    except CheckpointError as error:
        raise CheckpointError(error.message, remedy=REMEDY) from error
    except Exception as error:
        # A damaged archive can fail anywhere inside skops, numpy or scikit-learn.
        raise CheckpointError(f"{path}: cannot be read ({error}).", remedy=REMEDY) from error
    return estimator


def _types(estimator: Any) -> list[type]:
    """The type of an estimator, and of its steps if it is a pipeline."""
    return [type(estimator), *(type(step) for _, step in getattr(estimator, "steps", ()))]


def _indices_fit(estimator: Any, spec: InputSpec) -> bool:
    features = getattr(estimator, "n_features_in_", 0)
    for tree in (each.tree_ for each in getattr(estimator, "estimators_", ())):
        leaf = tree.children_left == -1
        if not _inside(tree.children_left, tree.children_right, tree.feature, leaf, features):
            return False
    for tree in (each for stage in getattr(estimator, "_predictors", ()) for each in stage):
        nodes = tree.nodes
        leaf = nodes["is_leaf"] != 0
        if not _inside(nodes["left"], nodes["right"], nodes["feature_idx"], leaf, features):
            return False
        splits = nodes[(nodes["is_categorical"] != 0) & ~leaf]
        categorical = estimator._bin_mapper.is_categorical_
        if (
            len(categorical) != features
            or not categorical[splits["feature_idx"]].all()
            or not (splits["bitset_idx"] < len(tree.raw_left_cat_bitsets)).all()
        ):
            return False
    preprocessor = getattr(estimator, "_preprocessor", None)
    if preprocessor is not None and not _keeps_columns(preprocessor, features):
        return False
    steps = [step for _, step in getattr(estimator, "steps", ())]
    rockets = [step for step in steps if type(step).__name__ == "MiniRocket"]
    return all(_kernels_fit(step, spec) for step in rockets)


def _inside(
    left: NDArray[Any],
    right: NDArray[Any],
    feature: NDArray[Any],
    leaf: NDArray[np.bool_],
    features: int,
) -> bool:
    """Whether a tree's inner nodes point at later nodes, so that a walk ends, and at real features."""
    inner = np.flatnonzero(~leaf)
    count = len(leaf)
    children = np.stack([left[inner], right[inner]]).astype(np.int64)
    asked = feature[inner].astype(np.int64)
    return bool(
        count > 0
        and (children > inner).all()
        and (children < count).all()
        and (asked >= 0).all()
        and (asked < features).all()
    )


def _keeps_columns(preprocessor: Any, features: int) -> bool:
    """Whether what stands before the trees gives them as many columns as they ask for, and does no more."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    if type(preprocessor) is not ColumnTransformer:
        return False
    (_, codes, coded), (_, numbers, rest), *others = preprocessor.transformers_
    coded, rest = np.asarray(coded), np.asarray(rest)
    return bool(
        type(codes) is OrdinalEncoder
        and type(numbers) is FunctionTransformer
        and numbers.func is None
        and all(step == "drop" for _, step, _ in others)
        and coded.dtype == rest.dtype == bool
        and coded.shape == rest.shape == (features,)
        and (coded ^ rest).all()
        and len(codes.categories_) == coded.sum()
        and preprocessor.transform(np.zeros((1, features))).shape == (1, features)
    )


def _kernels_fit(rocket: Any, spec: InputSpec) -> bool:
    """Whether MiniRocket's parameters are those of its 84 kernels on series of this shape."""
    length, channels = spec.shape
    a_kernel, indices, dilations, a_dilation, biases = map(np.asarray, rocket.parameters)
    return bool(
        all(array.ndim == 1 for array in (a_kernel, indices, dilations, a_dilation, biases))
        and (dilations >= 1).all()
        and (8 * dilations < length).all()
        and len(a_dilation) == len(dilations)
        and (a_dilation >= 0).all()
        and len(biases) == 84 * a_dilation.sum()
        and len(a_kernel) == 84 * len(dilations)
        and (a_kernel >= 1).all()
        and a_kernel.sum() == len(indices)
        and (indices >= 0).all()
        and (indices < channels).all()
    )
