"""Read, process, write: what to point at in a set, learnt from examples, in an order given or found.

Vinyals, Bengio and Kudlur, "Order Matters: Sequence to Sequence for Sets", 2016. For outputs that are
elements of the input: sorting by a rule that only examples show, a tour, the items that belong together.
The set is read in no order. Where outputs have no order either, they are learnt first in even random
orders and then in those that the model itself finds likely.

`sets.py` has what a user gives, `objective.py` what is trained, `tacita.parts.pointer` the decoder and
the search for an order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from tacita.apps.base import App
from tacita.apps.read_process_write.objective import PointerObjective, chosen_of, with_end
from tacita.apps.read_process_write.sets import as_outputs, as_sets, canonical, sizes_of
from tacita.catalog.cards import method
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.data.normalise import Standardiser
from tacita.encoder import Encoding
from tacita.encoders import build
from tacita.engine.history import Callback, History
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.parts.pointer import Memories, point_out, sample_orders

__all__ = ["ReadProcessWrite"]

WIDEST = 2**20
"""Of what a file may say an element or a network is as wide as."""
_AT_ONCE = 1000
"""Sets that are predicted together."""


@method(
    "read-process-write",
    title="Read, process, write (Order Matters)",
    paper="https://arxiv.org/abs/1511.06391",
    year=2016,
    family="app",
    modalities=("series",),
    summary="Learns from examples to order the elements of a set, or to select some of them.",
    reuses=("set-encoder", "pointer", "train"),
)
class ReadProcessWrite(App):
    """A set encoder and a pointer decoder, trained to write the outputs of sets as their positions.

    dim: width of memories and of both LSTMs.
    process_steps: how often the set is looked at before anything is written, P; the paper has 0 to 10.
    glimpses: 0 or 1 looks at the set before each pointer; both are the paper's.
    ends: whether outputs may be shorter than the set, so that it is learnt where they end.
    search: whether outputs are sets, whose order is for the model to find (section 5.2).
    uniform_share: of the steps, the first, in which a searched order is an even random one: the paper's
        1,000 of 10,000. Searched from the start, the first order that is found is kept; 1 never searches.
    steps, batch_size, learning_rate: of the training; the paper has 10,000 steps for sorting.
    seed: of the weights, the batches and the orders.

    After `fit`: `objective_`, `normaliser_`, and `history_`, that of the training.

    Equal elements are one another's equals in `score`; in training the position that is given is right.

    >>> sets = torch.rand(200, 3, 1, generator=torch.Generator().manual_seed(0))
    >>> app = ReadProcessWrite(dim=16, steps=60, batch_size=50, learning_rate=0.01)
    >>> app = app.fit(sets=sets, outputs=sets[:, :, 0].argsort(1))
    >>> [len(row) for row in app.predict(sets[:2])]
    [3, 3]
    """

    objective_: PointerObjective
    normaliser_: Standardiser
    history_: History

    def __init__(
        self,
        *,
        dim: int = 64,
        process_steps: int = 5,
        glimpses: int = 1,
        ends: bool = False,
        search: bool = False,
        uniform_share: float = 0.1,
        steps: int = 3000,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.dim, self.process_steps, self.glimpses = dim, process_steps, glimpses
        self.ends, self.search, self.uniform_share = ends, search, uniform_share
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.seed = seed
        self._objective(1, torch.empty(0, 0, dtype=torch.int64))  # refuses options that cannot be

    def fit(
        self,
        *,
        sets: Any,
        outputs: Any,
        checkpoint: Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Learn from the beginning, or with `resume` go on from a run's checkpoint.

        sets: `(N, T, C)` elements of C numbers, a list of `(T_i, C)` arrays, or a data set of series.
        outputs: for each set, positions of its elements, each once; in order, unless it is searched.
        checkpoint, resume, callbacks: as of `tacita.train`.

        Raises `DataError` for sets and outputs that cannot be, and `tacita.train`'s errors.
        """
        data = as_sets(sets)
        told = as_outputs(outputs, data, ends=self.ends)
        normaliser = Standardiser(data.spec, axis=2).fit(data.samples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            objective = self._objective(data.spec.channels, told)
        self.history_ = train(
            objective,
            data.normalised(normaliser),
            steps=self.steps,
            batch_size=min(self.batch_size, len(data)),
            learning_rate=self.learning_rate,
            seed=self.seed,
            checkpoint=checkpoint,
            resume=resume,
            callbacks=callbacks,
        )
        self.objective_, self.normaliser_ = objective, normaliser
        return self

    @torch.no_grad()
    def predict(self, sets: Any, *, repeats: bool = False) -> list[Tensor]:
        """For each set the positions that are written, the likeliest step by step.

        repeats: whether an element may be written twice, as the model was trained; else each comes once.
            Without an end, as many are written as there are elements.

        Raises `ConfigError` before `fit`, `DataError` for sets of other elements.
        """
        data = self._read(sets)
        rows = list[Tensor]()
        for positions in _pieces(data):
            encoding, memories = self._encoded(data, positions)
            sizes = sizes_of(data)[positions]
            most = int(sizes.max()) + int(self.ends)
            picks = point_out(
                self.objective_.decoder, memories, encoding.pooled, most, repeats=repeats
            )
            if self.ends:
                ended = picks == memories.mask.shape[1] - 1
                sizes = ended.int().argmax(1).where(ended.any(1), most).minimum(sizes)
            rows += [row[:size] for row, size in zip(picks, sizes.tolist(), strict=True)]
        return rows

    def score(self, sets: Any, outputs: Any, *, repeats: bool = False) -> float:
        """The share of sets whose output is written exactly, by the values of its elements.

        Where orders are searched, outputs are compared as sets. Raises as `fit` and `predict` do.
        """
        data = self._read(sets)
        told = as_outputs(outputs, data, ends=self.ends)
        sizes = sizes_of(data)
        names = torch.cat([canonical(data.x[some], sizes[some]) for some in _pieces(data)])
        right = 0
        for row, expected, name in zip(
            self.predict(data, repeats=repeats), told, names, strict=True
        ):
            found, wanted = name[row], name[expected[expected >= 0]]
            if self.search:
                found, wanted = found.sort().values, wanted.sort().values
            right += torch.equal(found, wanted)
        return right / len(data)

    @torch.no_grad()
    def log_likelihood(
        self, sets: Any, outputs: Any, *, samples: int = 32, seed: int = 0
    ) -> Tensor:
        """`(N,)` log p(Y | X) of outputs: of their order, or, where it is searched, of the set.

        samples: sampled orders by which the sum over all orders is estimated (importance sampling, whose
            mean over draws is p itself); for outputs in order it is exact. seed: of these.

        Raises as `fit` and `predict` do.
        """
        if samples < 1:
            raise ConfigError(f"samples={samples}: it must be 1 or more.")
        data = self._read(sets)
        told = as_outputs(outputs, data, ends=self.ends)
        found = list[Tensor]()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for positions in _pieces(data):
                encoding, memories = self._encoded(data, positions)
                counts = (told[positions] >= 0).sum(1)
                picks = with_end(told[positions], memories, ends=self.ends)
                there = torch.arange(picks.shape[1]) < (counts + int(self.ends))[:, None]
                decoder = self.objective_.decoder
                if not self.search:
                    log_p = decoder(memories, encoding.pooled, picks)
                    steps = log_p.gather(2, picks[:, :, None])[:, :, 0]
                    found.append(steps.where(there, 0.0).sum(1))
                    continue
                chosen = chosen_of(picks, counts, memories)
                draws = [
                    sample_orders(decoder, memories, encoding.pooled, chosen, picks.shape[1]).share
                    for _ in range(samples)
                ]
                weights = torch.stack([draw.where(there, 0.0).sum(1) for draw in draws])
                found.append(weights.logsumexp(0) - torch.tensor(samples).log())
        return torch.cat(found)

    def figures(self) -> dict[str, float]:
        """The last loss, in nats a set, and the share of sets of which every step was right."""
        if not hasattr(self, "history_"):
            raise ConfigError("Nothing was learnt yet.", remedy="Call fit first.")
        last = self.history_.rows[-1]
        return {"steps": last["step"], "loss": last["write"], "right": last["right"]}

    def modules(self) -> dict[str, nn.Module]:
        if not hasattr(self, "objective_"):
            return {}
        return {
            "encoder": self.objective_.encoder,
            "decoder": self.objective_.decoder,
            "normaliser": self.normaliser_,
        }

    def rebuild(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        shape = shapes.get("normaliser/mean", ())
        if len(shape) != 1 or not 1 <= shape[0] <= WIDEST:
            raise ConfigError("the file holds no sets.", remedy="Give one that `save` wrote.")
        self.objective_ = self._objective(shape[0], torch.empty(0, 0, dtype=torch.int64))
        self.normaliser_ = Standardiser(_spec(shape[0]), axis=2)

    def _objective(self, channels: int, outputs: Tensor) -> PointerObjective:
        return PointerObjective(
            build("set-encoder", _spec(channels), dim=self.dim, steps=self.process_steps),
            outputs,
            glimpses=self.glimpses,
            ends=self.ends,
            search=self.search,
            uniform_share=self.uniform_share,
        )

    def _read(self, sets: Any) -> Dataset:
        if not hasattr(self, "objective_"):
            raise ConfigError("Nothing was learnt yet.", remedy="Call fit or load first.")
        return as_sets(sets, self.normaliser_.spec.channels).normalised(self.normaliser_)

    def _encoded(self, data: Dataset, positions: Tensor) -> tuple[Encoding, Memories]:
        self.objective_.eval()
        batch = data.take(positions)
        encoding = self.objective_.encoder(batch)
        return encoding, self.objective_.memories(encoding, batch)


def _pieces(data: Dataset) -> list[Tensor]:
    return [
        torch.arange(start, min(start + _AT_ONCE, len(data)))
        for start in range(0, len(data), _AT_ONCE)
    ]


def _spec(channels: int) -> InputSpec:
    # The length is that of no set: nothing in the networks depends on it.
    return InputSpec("series", (1, channels))
