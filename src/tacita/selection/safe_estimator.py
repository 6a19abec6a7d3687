"""scikit-learn estimators on disk without pickle: skops, and only the types that baselines use."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from skops.io import dump
from skops.io import load as skops_load
from skops.io.exceptions import UntrustedTypesFoundException

from tacita.errors import CheckpointError
from tacita.files import replacing

TRUSTED = [
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "aeon.transformations.collection.convolution_based._minirocket.MiniRocket",
]
"""Beyond the types that skops trusts by itself."""

LARGEST = 8 * 2**30


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator, whole or not at all."""
    with replacing(path) as temporary:
        dump(estimator, temporary)


def load_estimator(path: Path) -> Any:
    """Read an estimator; raises `CheckpointError` for a damaged file or a type that is not known."""
    remedy = "The folder is damaged or not from tacita; use it as it was saved."
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise CheckpointError(
                    f"{path}: unpacks to more than {LARGEST} bytes.", remedy=remedy
                )
        return skops_load(path, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise CheckpointError(
            f"{path}: holds types that no baseline uses ({error}).", remedy=remedy
        ) from error
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged archive can fail anywhere inside skops, numpy or scikit-learn.
        raise CheckpointError(f"{path}: cannot be read ({error}).", remedy=remedy) from error
