"""Pretraining on a small data set and on what is like it in a large pool: `tacita.apps.simcore`."""

from __future__ import annotations

from typing import Any

from tacita.apps.simcore import Selection, SimCore, merge
from tacita.catalog.options import taken
from tacita.data.dataset import check_alike
from tacita.data.reading import Reading
from tacita.model.model import Model
from tacita.verbs.common import read_dataset
from tacita.verbs.pretrain import pretrain
from tacita.verbs.screen import Screen


def pretrain_on_coreset(
    method: str,
    target: Any,
    pool: Any,
    *,
    simcore: SimCore | None = None,
    retrieval: Model | None = None,
    out: Any = None,
    **options: Any,
) -> tuple[Model, Selection]:
    """Pretrain on the target, select from the pool by that model, pretrain anew on both.

    method: a pretraining method by name, for both models; the paper's is `simclr`.
    target, pool: paths, names, arrays or data sets of one shape.
    simcore: how to select; by default as in the paper.
    retrieval: a model that was pretrained on the target (or elsewhere), to select by.
    out: the folder of the second model. `options` are those of `tacita.pretrain`, for both models.

    The second model starts from random weights again, as in the paper: for instance
    `pretrain_on_coreset("simclr", "flowers/", "photos/", steps=2000, out="runs/flowers")`. Raises as
    `tacita.pretrain` and `merge` do.
    """
    reading, options = taken(Reading, options)
    small, large = (read_dataset(data, None, reading) for data in (target, pool))
    check_alike(small, large)
    if retrieval is None:
        retrieval = pretrain(method, small, **options)
    of_target, of_pool = retrieval.embed(small), retrieval.embed(large)
    selection = (simcore or SimCore()).fit(target=of_target, pool=of_pool).selection_
    Screen(quiet=options.get("quiet", False)).line("selected", selection.line())
    both = merge(small, large, selection.indices)
    return pretrain(method, both, out=out, **options), selection
