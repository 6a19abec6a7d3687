"""Forests and boosted trees as arrays. Compiled code follows the numbers in a tree without looking, so
that they are looked at here: children come after their parents, so that a walk ends, and inside the tree.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tacita.baselines.arrays import Array, Arrays
from tacita.data.batch import InputSpec

LEAF = -1
BITSET = 8
"""Numbers of 32 bits for a set of up to 256 categories."""
MOST_CATEGORIES = 256


class Codes:
    """A table's categories as whole numbers from 0 and before its other columns, as boosting wants them.

    categorical: `(F,)` bool. categories: of each such column the known values, rising. What is not
    among them becomes NaN, which the trees take for missing.

    >>> Codes(np.array([False, True]), [np.array([2.0, 5.0])]).transform(np.array([[7.0, 5.0], [8.0, 3.0]]))
    array([[ 1.,  7.],
           [nan,  8.]])
    """

    def __init__(self, categorical: Array, categories: list[Array]) -> None:
        self.categorical = categorical
        self.categories = categories

    def transform(self, x: Any) -> Array:
        """`(N, F)` numbers to as many, the categorical columns first."""
        x = np.asarray(x, np.float64)
        coded = np.full((len(x), len(self.categories)), np.nan)
        for place, column in enumerate(np.flatnonzero(self.categorical)):
            known, values = self.categories[place], x[:, column]
            where = np.searchsorted(known, values).clip(max=max(0, len(known) - 1))
            if len(known):
                coded[:, place] = np.where(known[where] == values, where, np.nan)
        return np.concatenate([coded, x[:, ~self.categorical]], 1)


def take_forest(fitted: Any) -> dict[str, Any]:
    """The arrays of a fitted random forest, all its trees end to end."""
    grown = [each.tree_ for each in fitted.estimators_]
    known = {"classes": fitted.classes_} if hasattr(fitted, "classes_") else {}
    nodes = [tree.__getstate__()["nodes"] for tree in grown]
    return {
        **known,
        "sizes": [len(each) for each in nodes],
        "left": np.concatenate([each["left_child"] for each in nodes]),
        "right": np.concatenate([each["right_child"] for each in nodes]),
        "feature": np.concatenate([each["feature"] for each in nodes]),
        "threshold": np.concatenate([each["threshold"] for each in nodes]),
        "missing_left": np.concatenate([each["missing_go_to_left"] for each in nodes]),
        "value": np.concatenate([tree.value[:, 0] for tree in grown]),
    }


def make_forest(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """Grow a forest again."""
    from sklearn.base import clone, is_classifier
    from sklearn.tree._tree import NODE_DTYPE, Tree

    outputs = 1
    if is_classifier(unfitted):
        unfitted.classes_ = arrays.classes()
        unfitted.n_classes_ = outputs = len(unfitted.classes_)
    starts = _starts(arrays, arrays.whole("sizes", unfitted.n_estimators, least=1))
    count = int(starts[-1])
    left = arrays.whole("left", count, least=LEAF)
    right = arrays.whole("right", count, least=LEAF)
    feature = arrays.whole("feature", count, least=-2, below=columns)
    threshold = arrays.numbers("threshold", count, infinite=True).astype(np.float64)
    value = arrays.numbers("value", count, outputs).astype(np.float64)
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = left, right
    nodes["feature"], nodes["threshold"] = feature, threshold
    nodes["missing_go_to_left"] = arrays.flags("missing_left", count)
    leaf = left == LEAF
    _check_inside(arrays, starts, left, right, feature, leaf)
    model = clone(unfitted.estimator)
    model.set_params(**{name: getattr(unfitted, name) for name in unfitted.estimator_params})
    model.n_features_in_, model.n_outputs_ = columns, 1
    if is_classifier(unfitted):
        model.classes_, model.n_classes_ = np.arange(outputs, dtype=np.float64), outputs
    unfitted.estimators_ = []
    for start, end in pairwise(starts):
        tree = Tree(columns, np.array([outputs], np.intp), 1)
        part, values = nodes[start:end].copy(), value[start:end, None].copy()
        state = {"max_depth": 0, "node_count": len(part), "nodes": part, "values": values}
        tree.__setstate__(state)
        grown = clone(model)
        grown.__dict__.update({**model.__dict__, "tree_": tree})
        unfitted.estimators_.append(grown)
    unfitted.n_features_in_, unfitted.n_outputs_ = columns, 1
    return outputs


NODE = {"left": "left", "right": "right", "feature": "feature_idx", "threshold": "num_threshold",
        "missing_left": "missing_go_to_left", "leaf": "is_leaf", "categorical": "is_categorical",
        "bitset": "bitset_idx", "value": "value"}  # fmt: skip
"""Our names of what a node has, and scikit-learn's."""


def take_boosting(fitted: Any) -> dict[str, Any]:
    """The arrays of fitted histogram gradient boosting whose categories go through `Codes`."""
    stages = fitted._predictors
    grown = [tree for stage in stages for tree in stage]
    empty = np.zeros((0, BITSET), np.int64)
    known = {"classes": fitted.classes_} if hasattr(fitted, "classes_") else {}
    outputs = fitted.n_trees_per_iteration_
    found = {
        **known,
        "start": fitted._baseline_prediction,
        "sizes": np.array([len(tree.nodes) for tree in grown]).reshape(-1, outputs),
        "bitset_sizes": np.array([len(tree.raw_left_cat_bitsets) for tree in grown]).reshape(
            -1, outputs
        ),
        "bitsets": np.concatenate([empty, *(tree.raw_left_cat_bitsets for tree in grown)]),
    }
    nodes = np.concatenate([tree.nodes for tree in grown])
    found |= {ours: nodes[theirs] for ours, theirs in NODE.items()}
    # What stands in an inner node's value, or in a leaf's threshold, is never asked for.
    found["value"] = np.where(nodes["is_leaf"] != 0, nodes["value"], 0.0)
    found["threshold"] = np.where(nodes["is_leaf"] != 0, 0.0, nodes["num_threshold"])
    if fitted._preprocessor is not None:
        categories = fitted._preprocessor.categories
        found["category_sizes"] = [len(each) for each in categories]
        found["categories"] = np.concatenate(categories)
    return found


def make_boosting(unfitted: Any, arrays: Arrays, columns: int, spec: InputSpec) -> int:
    """Grow boosted trees again."""
    from sklearn.base import is_classifier
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    outputs = 1
    if is_classifier(unfitted):
        unfitted.classes_ = arrays.classes()
        outputs = 1 if len(unfitted.classes_) <= 2 else len(unfitted.classes_)
    codes = _codes(unfitted, arrays)
    sizes = arrays.whole("sizes", None, outputs, least=1)
    starts = _starts(arrays, sizes.ravel())
    bitset_sizes = arrays.whole("bitset_sizes", len(sizes), outputs)
    bitset_starts = _starts(arrays, bitset_sizes.ravel())
    count = int(starts[-1])
    # Asked for first: sizes that are only claimed are held against what is there before memory is taken.
    feature = arrays.whole("feature", count, below=columns)
    nodes = np.zeros(count, PREDICTOR_RECORD_DTYPE)
    for name in ("left", "right", "bitset"):
        nodes[NODE[name]] = arrays.whole(name, count)
    nodes["feature_idx"] = feature
    for name in ("missing_left", "leaf", "categorical"):
        nodes[NODE[name]] = arrays.flags(name, count)
    nodes["num_threshold"] = arrays.numbers("threshold", count, infinite=True)
    nodes["value"] = arrays.numbers("value", count)
    leaf = nodes["is_leaf"] != 0
    left, right = (nodes[name].astype(np.int64) for name in ("left", "right"))
    _check_inside(arrays, starts, left, right, feature, leaf)
    splits = (nodes["is_categorical"] != 0) & ~leaf
    room = np.repeat(bitset_sizes.ravel(), sizes.ravel())
    first = 0 if codes is None else len(codes.categories)
    if not ((nodes["bitset_idx"] < room) & (feature < first))[splits].all():
        raise arrays.wrong("bitset", "points outside of the sets of categories")
    bitsets = arrays.whole("bitsets", int(bitset_starts[-1]), BITSET, below=2**32)
    parts = [
        TreePredictor(nodes[a:b].copy(), np.zeros((0, BITSET), np.uint32), bits)
        for a, b, bits in zip(
            starts[:-1],
            starts[1:],
            np.split(bitsets.astype(np.uint32), bitset_starts[1:-1]),
            strict=True,
        )
    ]
    unfitted._predictors = [parts[i : i + outputs] for i in range(0, len(parts), outputs)]
    unfitted._baseline_prediction = arrays.numbers("start", 1, outputs).astype(np.float64)
    unfitted._preprocessor = codes
    mapper = _BinMapper()
    mapper.is_categorical_ = (np.arange(columns) < first).astype(np.uint8)
    mapper.bin_thresholds_ = [
        np.arange(len(codes.categories[i]) if codes is not None and i < first else 0, dtype=float)
        for i in range(columns)
    ]
    unfitted._bin_mapper = mapper
    unfitted.n_trees_per_iteration_ = outputs
    unfitted.n_features_in_ = columns
    unfitted._loss = unfitted._get_loss(sample_weight=None)
    return outputs


def _codes(unfitted: Any, arrays: Arrays) -> Codes | None:
    """What comes before the trees of a table with categories; which columns have them, the recipe says."""
    categorical = np.asarray(unfitted.categorical_features or (), bool)
    if not categorical.any():
        return None
    sizes = arrays.whole("category_sizes", int(categorical.sum()), below=MOST_CATEGORIES)
    values = arrays.numbers("categories", int(sizes.sum())).astype(np.float64)
    parts = np.split(values, sizes.cumsum()[:-1])
    if any((np.diff(part) <= 0).any() for part in parts):
        raise arrays.wrong("categories", "are not in rising order")
    return Codes(categorical, parts)


def _starts(arrays: Arrays, sizes: Array) -> Array:
    """Where each tree begins, and the end of the last."""
    if len(sizes) > 2**31:
        raise arrays.wrong("sizes", "are too many")
    return np.concatenate([[0], sizes.cumsum()])


def _check_inside(
    arrays: Arrays, starts: Array, left: Array, right: Array, feature: Array, leaf: Array
) -> None:
    """Raise unless every inner node points at later nodes of its own tree, and at a column."""
    sizes = np.diff(starts)
    place = np.arange(len(left)) - np.repeat(starts[:-1], sizes)
    ends = np.repeat(sizes, sizes)
    for name, child in (("left", left), ("right", right)):
        if not ((child > place) & (child < ends))[~leaf].all():
            raise arrays.wrong(name, "points outside of its tree")
    if not (feature >= 0)[~leaf].all():
        raise arrays.wrong("feature", "is no column")
