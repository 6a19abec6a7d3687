"""Classes that arrive group by group: session 0 has the base classes, each later one some new ones.

The protocol of class-incremental learning: after every session a learner is asked about all classes so
far, and what it says of the earlier ones tells what it has kept. `tacita.measures.forgetting` has the
figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tacita.continual import Continual
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError
from tacita.learner import Learner
from tacita.tasks import UNLABELLED, Classification, require_classes


def class_sessions(data: Dataset, *, base: int, step: int, seed: int = 0) -> list[Dataset]:
    """The labelled samples by session, each with the task of its own classes; `index` stays.

    base, step: classes of session 0, and of each further one; the last may have fewer.
    seed: of the order of the classes, the same for every data set of the same classes.

    Raises `ConfigError` for a task without classes, and numbers of classes that there are not.

    >>> y = torch.tensor([0, 1, 2, 0])
    >>> data = Dataset.of("tables", torch.zeros(4, 1), y, Classification(("a", "b", "c")))
    >>> [part.task.classes for part in class_sessions(data, base=2, step=1)]
    [('c', 'a'), ('b',)]
    """
    task = require_classes(
        f"{data.source}: sessions are of classes", data.task, remedy="Give data with classes."
    )
    count = len(task.classes)
    if not 1 <= base <= count or step < 1:
        raise ConfigError(
            f"base={base}, step={step} of {count} classes.", remedy="Give 1 or more, and no more."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    begins = [0, *range(base, count, step)]
    parts = zip(begins, [*begins[1:], count], strict=True)
    return [_of_classes(data, task, order[begin:end]) for begin, end in parts]


def session_scores(
    learner: Learner, sessions: Sequence[Dataset], held: Sequence[Dataset], *, seed: int = 0
) -> tuple[tuple[float, ...], ...]:
    """Learn one session after another; `scores[k][j]` is that on `held[j]` after session `k`.

    held: further samples of each session, such as `class_sessions` makes of them with the same seed.

    Raises `ConfigError` for a learner that does not keep learning.
    """
    if not isinstance(learner, Continual):
        raise ConfigError(
            f"{type(learner).__name__} learns once, and not on from where it is.",
            remedy="Give one that extends, such as `knn`.",
        )
    scores = []
    for number, data in enumerate(sessions):
        if number:
            learner.extend(data)
        else:
            learner.fit(data, seed=seed)
        scores.append(tuple(learner.score(part) for part in held[: number + 1]))
    return tuple(scores)


def _of_classes(data: Dataset, task: Classification, part: torch.Tensor) -> Dataset:
    # The last entry is read by the code -1 of a sample without a label.
    codes = torch.full((len(task.answers) + 1,), UNLABELLED)
    codes[part] = torch.arange(len(part))
    y = codes[data.y]
    names = tuple(task.classes[code] for code in part.tolist())
    return data.with_labels(y, Classification(names, label_type=task.label_type)).subset(
        y != UNLABELLED
    )
