"""What a user gives is checked, orders that are found agree with all orders, and a run goes on as it was."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tacita.apps.read_process_write import ReadProcessWrite
from tacita.apps.read_process_write.objective import PointerObjective
from tacita.apps.read_process_write.sets import as_outputs, as_sets
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import CheckpointError, ConfigError, DataError
from tests.engine.runs import equal
from tests.helpers import assert_close

TINY = {"dim": 8, "process_steps": 2, "steps": 3, "batch_size": 8}


def random_sets(count: int, size: int = 4, channels: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, size, channels, generator=generator)


def unequal() -> list[np.ndarray]:
    return [row[:size].numpy() for row, size in zip(random_sets(9), [3, 1, 4] * 3, strict=True)]


def largest_two(sets: Tensor) -> Tensor:
    return sets[:, :, 0].argsort(1, descending=True)[:, :2]


def fitted(search: bool = False) -> ReadProcessWrite:
    sets = random_sets(20)
    app = ReadProcessWrite(ends=True, search=search, **TINY)
    return app.fit(sets=sets, outputs=largest_two(sets))


def test_it_learns_to_sort() -> None:
    sets, other = random_sets(2000, 3), random_sets(300, 3, seed=1)
    app = ReadProcessWrite(dim=16, process_steps=1, steps=80, batch_size=50, learning_rate=0.02)
    app.fit(sets=sets, outputs=sets[:, :, 0].argsort(1))
    assert app.score(other, other[:, :, 0].argsort(1)) > 0.7
    assert app.figures()["loss"] < 1.0


def test_a_set_is_written_the_same_in_any_order_and_any_company() -> None:
    app, sets = fitted(), unequal()
    written = app.predict(sets)
    generator = torch.Generator().manual_seed(0)
    for one, places in zip(sets, written, strict=True):
        order = torch.randperm(len(one), generator=generator)
        alone = app.predict([one[order]])[0]
        assert torch.equal(order[alone], places)
    whole = ReadProcessWrite(**TINY)
    whole.fit(sets=sets, outputs=[range(len(one)) for one in sets])
    assert [sorted(row.tolist()) for row in whole.predict(sets)] == [
        list(range(len(one))) for one in sets
    ]


def test_the_likelihood_of_a_set_is_that_of_all_its_orders() -> None:
    app, sets = fitted(search=True), random_sets(2, seed=3)
    outputs = [[0, 2, 3], [1, 0, 2]]
    estimated = app.log_likelihood(sets, outputs, samples=100)
    app.search = False
    orders = zip(*(list(permutations(row)) for row in outputs), strict=True)
    each = torch.stack([app.log_likelihood(sets, list(pair)) for pair in orders])
    torch.testing.assert_close(estimated, each.logsumexp(0), rtol=0, atol=0.05)
    assert (each.max(0).values >= each).all()


def objective_of(
    sets: Tensor, outputs: Tensor, **options: object
) -> tuple[PointerObjective, Dataset]:
    data = as_sets(sets)
    torch.manual_seed(0)
    encoder = build("set-encoder", data.spec, dim=8, steps=1)
    return PointerObjective(
        encoder, as_outputs(outputs, data, ends=True), ends=True, **options
    ), data


@pytest.mark.parametrize("uniform", [True, False])
def test_where_there_is_one_order_it_is_the_one_that_is_found(uniform: bool) -> None:
    sets = random_sets(6)
    losses = []
    for search in (False, True):
        objective, data = objective_of(sets, largest_two(sets)[:, :1], search=search)
        objective.start(10 if uniform else 0)
        losses.append(objective(data.take(torch.arange(6))).total)
    assert_close(losses[0], losses[1])


def test_the_loss_is_cross_entropy_over_each_set_and_its_end() -> None:
    sets = random_sets(3)
    outputs = torch.tensor([[1, 0], [3, -1], [-1, -1]])
    rows = [[1, 0], [3], []]
    objective, data = objective_of(sets, rows)
    assert torch.equal(objective.outputs, outputs)
    total = 0.0
    for row, picks in enumerate(rows):
        batch = Batch.of(data.take(torch.tensor([row])).samples)
        encoding = objective.encoder(batch)
        memories = objective.memories(encoding, batch)
        log_p = objective.decoder(memories, encoding.pooled, torch.tensor([[*picks, 4]]))[0]
        total -= sum(float(log_p[step, place].detach()) for step, place in enumerate([*picks, 4]))
    assert objective(data.take(torch.arange(3))).total.item() == pytest.approx(total / 3, rel=1e-5)


def test_a_run_that_was_stopped_goes_on_as_it_was(tmp_path: Path) -> None:
    """Half of the steps in random orders, half in those that are found: which half is kept too."""
    sets = random_sets(20)

    def run(stop: int = 0, resume: bool = False, seed: int = 0) -> dict[str, Tensor]:
        outputs = sets[:, :, 0].argsort(1)[:, seed:]
        objective, data = objective_of(sets, outputs, search=True, uniform_share=0.5)

        def stops(progress: object) -> None:
            if stop and objective.done >= stop:
                raise KeyboardInterrupt

        train(
            objective, data, steps=8, batch_size=5, log_every=1, device="cpu", callbacks=[stops],
            checkpoint=tmp_path / "run.safetensors", checkpoint_every=0.0, resume=resume,
        )  # fmt: skip
        return objective.state_dict()

    with pytest.raises(KeyboardInterrupt):
        run(stop=5)
    with pytest.raises(CheckpointError, match="another run"):
        run(resume=True, seed=1)
    resumed = run(resume=True)
    assert equal(resumed, run())


def test_what_was_saved_writes_the_same(tmp_path: Path) -> None:
    app, path = fitted(), tmp_path / "app.safetensors"
    app.save(path)
    again = ReadProcessWrite(ends=True, **TINY).load(path)
    for one, other in zip(app.predict(unequal()), again.predict(unequal()), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(CheckpointError, match=r"app\.safetensors"):
        ReadProcessWrite(**TINY).load(path)


def test_a_seed_fixes_what_is_learnt() -> None:
    first, second = fitted(search=True), fitted(search=True)
    for name, module in first.modules().items():
        assert equal(module.state_dict(), second.modules()[name].state_dict())


def test_equal_elements_stand_for_each_other_and_searched_sets_have_no_order() -> None:
    app = fitted()
    sets = torch.tensor([[[0.5], [0.5], [0.1], [0.2]]])
    for written, expected, search, right in (
        ([0, 2], [1, 2], False, 1.0),
        ([2, 0], [1, 2], False, 0.0),
        ([2, 0], [1, 2], True, 1.0),
        ([0, 1], [1, 2], True, 0.0),
    ):
        app.search = search
        app.predict = lambda sets, repeats, row=written: [torch.tensor(row)]  # type: ignore[method-assign]
        assert app.score(sets, [expected]) == right


@pytest.mark.parametrize(
    "outputs, what",
    [
        ([[0, 1, 2, 3]], "1 rows for 2 sets"),
        ([[0, 1, 2, 4], [0, 1, 2, 3]], "set 0 points at no element"),
        ([[0, 1, 2, 3], [0, 1, -1, 2]], "set 1 points at no element"),
        ([[0, 1, 2, 3], [0, 1, 2, 2]], "set 1 has a position twice"),
        ([[0, 1, 2, 3], [0, 1, 2]], "set 1 leaves elements out"),
        ([[0.5, 1], [0, 1]], "no rows of positions"),
        ([["a"], ["b"]], "no rows of positions"),
    ],
)
def test_outputs_that_cannot_be_are_refused(outputs: object, what: str) -> None:
    with pytest.raises(DataError, match=what):
        ReadProcessWrite(**TINY).fit(sets=random_sets(2), outputs=outputs)


def test_sets_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        as_sets([np.ones((2, 1)), np.ones((0, 1))])
    with pytest.raises(DataError, match="elements of 2 numbers, where 1"):
        fitted().predict(random_sets(2, channels=2))


def test_options_and_encoders_that_cannot_be_are_refused() -> None:
    for options in ({"glimpses": 2}, {"uniform_share": 1.5}, {"process_steps": -1}):
        with pytest.raises(ConfigError, match="="):
            ReadProcessWrite(**options)
    with pytest.raises(ConfigError, match="Call fit"):
        ReadProcessWrite().predict(random_sets(2))
    with pytest.raises(ConfigError, match="Call fit"):
        ReadProcessWrite().figures()
    data = as_sets(random_sets(2, 8))
    objective = PointerObjective(build("series-transformer", data.spec, patch=4), torch.zeros(2, 8))
    with pytest.raises(ConfigError, match="2 tokens for 8 elements"):
        objective(data.take(torch.arange(2)))


def test_half_precision_gives_a_similar_loss() -> None:
    sets = random_sets(6)
    objective, data = objective_of(sets, largest_two(sets), search=True)
    expected = objective(data.take(torch.arange(6))).total
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(0)
        loss = objective(data.take(torch.arange(6))).total
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


@pytest.mark.parametrize("search", [False, True])
def test_sets_of_unequal_sizes_without_an_end_have_the_loss_of_each(search: bool) -> None:
    sets = unequal()[:3]
    data = as_sets(sets)
    outputs = as_outputs([range(len(one)) for one in sets], data, ends=False)
    torch.manual_seed(0)
    encoder = build("set-encoder", data.spec, dim=8, steps=1)
    objective = PointerObjective(encoder, outputs, search=search, uniform_share=0.0)
    total = objective(data.take(torch.arange(3))).total
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)
    if not search:
        each = [objective(data.take(torch.tensor([row]))).total for row in range(3)]
        assert_close(total, torch.stack(each).mean())
