"""IOMatch can go wrong silently: pairs read in another layout, targets that let a gradient through or
that the wrong head learns from. Each is checked against the definitions or a slow derivation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tacita
from tacita.adapt.trained import Trained
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels, hold_out
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.model.model import Model
from tacita.semisup.iomatch import (
    IOMatch,
    masked_soft_cross_entropy,
    multi_binary_loss,
    open_targets,
)
from tacita.tasks import UNKNOWN, Classification, OpenSet, Regression
from tests.helpers import assert_close

KNOWN = tuple("012345")


def digits(seed: int = 0) -> tuple[Dataset, Dataset]:
    """Digits of which 0 to 5 are known: four labels a class among 70%, and the others to be scored on."""
    whole = tacita.load("digits")
    whole = whole.with_labels(whole.y.clamp_max(6), OpenSet(KNOWN))
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    few = pool.hide_labels(draw_labels(pool, 4, seed))
    return few, whole.subset(held).normalised(pool.normaliser)


def iomatch(open_set: bool = True, **options: object) -> tuple[IOMatch, SemiBatch]:
    data, _ = digits()
    task = data.task if open_set else Classification(KNOWN)
    torch.manual_seed(0)
    views = {"weak": nn.Identity(), "strong": nn.Identity()}
    objective = IOMatch(build("residual-cnn", data.spec, width=4), task, **{**views, **options})
    with torch.no_grad():  # Guesses of an untrained network are too alike to be told apart.
        objective.closed[-1].weight.mul_(4)
        objective.others["binary"].weight.mul_(20)
    objective.average = objective.averaged()
    known = data.labelled.nonzero().squeeze(1)[:8]
    batch = SemiBatch(data.take(known), data.take(torch.arange(100, 132)))
    return objective, batch


def softmax(logits: Tensor | np.ndarray, axis: int = 1) -> np.ndarray:
    e = np.exp(np.asarray(logits, np.float64))
    return e / e.sum(axis, keepdims=True)


# Targets


def test_open_targets_are_probabilities_and_split_each_guess() -> None:
    p, o = torch.rand(50, 6).softmax(1), torch.rand(50, 6)
    q = open_targets(p, o)
    assert (q >= 0).all()
    assert_close(q.sum(1), torch.ones(50))
    for i in range(50):
        for k in range(6):
            assert float(q[i, k]) == pytest.approx(float(p[i, k] * o[i, k]))
        left = sum(float(p[i, k]) * (1 - float(o[i, k])) for k in range(6))
        assert float(q[i, 6]) == pytest.approx(left, rel=1e-5)


def test_where_all_are_inliers_the_targets_are_the_guesses() -> None:
    p = torch.rand(9, 6).softmax(1)
    assert_close(open_targets(p, torch.ones(9, 6)), torch.cat([p, torch.zeros(9, 1)], 1))


# The multi-binary loss


def test_the_multi_binary_loss_is_its_definition() -> None:
    pairs, y = torch.randn(20, 2, 5, dtype=torch.float64), torch.arange(20) % 5
    o = softmax(pairs)[:, 1]
    own = [-np.log(o[i, y[i]]) for i in range(20)]
    others = [max(-np.log(1 - o[i, k]) for k in range(5) if k != y[i]) for i in range(20)]
    expected = np.mean(own) + np.mean(others)
    assert float(multi_binary_loss(pairs, y)) == pytest.approx(expected)


def test_of_two_undecided_classes_it_is_two_logs_of_two() -> None:
    loss = multi_binary_loss(torch.zeros(3, 2, 2), torch.tensor([0, 1, 0]))
    assert float(loss) == pytest.approx(2 * np.log(2))


def test_of_one_class_alone_it_is_the_log_of_two() -> None:
    pairs = torch.zeros(3, 2, 1, requires_grad=True)
    loss = multi_binary_loss(pairs, torch.zeros(3, dtype=torch.int64))
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    assert pairs.grad.isfinite().all()
    assert (pairs.grad[:, 1] < 0).all()


def test_one_known_class_and_strangers_are_learnt() -> None:
    data = tacita.load("digits")
    few = data.with_labels(data.y.clamp_max(1), OpenSet(("0",))).normalised()
    few = few.hide_labels((few.y == 0).nonzero().squeeze(1)[:4])
    encoder = build("residual-cnn", few.spec, width=4)
    learner = Trained(encoder, IOMatch, engine={"steps": 3, "batch_size": 8}).fit(few)
    assert np.isfinite(learner.predict_proba(few)).all()


def test_only_the_own_class_and_the_hardest_other_have_a_gradient() -> None:
    pairs = torch.randn(30, 2, 6, requires_grad=True)
    y = torch.arange(30) % 6
    multi_binary_loss(pairs, y).backward()
    reached = pairs.grad.abs().sum(1) > 0
    own = functional.one_hot(y, 6).bool()
    assert reached[own].all()
    assert (reached.sum(1) == 2).all()
    hardest = (pairs[:, 1] - pairs[:, 0]).detach().masked_fill(own, -torch.inf).argmax(1)
    assert reached[torch.arange(30), hardest].all()
    # Of equals one is taken, so that no class is pushed away twice as hard.
    level = torch.zeros(1, 2, 6, requires_grad=True)
    multi_binary_loss(level, torch.tensor([2])).backward()
    assert int((level.grad.abs().sum(1) > 0).sum()) == 2


def test_its_gradient_is_right() -> None:
    pairs, y = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True), torch.arange(4) % 3
    assert torch.autograd.gradcheck(lambda pairs: multi_binary_loss(pairs, y), pairs)


def test_a_class_sure_to_be_wrong_costs_a_finite_loss() -> None:
    pairs = torch.tensor([[[500.0, 0.0], [0.0, 500.0]]], requires_grad=True)
    loss = multi_binary_loss(pairs, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(1000)
    assert pairs.grad.isfinite().all()


def test_pairs_lie_class_after_class_first_not_being_it() -> None:
    objective, batch = iomatch()
    chi = objective.others["binary"]
    h = objective.features(batch.labelled)[0]
    flat = chi(objective.open[0](h))
    assert chi.bias is None
    for k in range(6):
        assert_close(objective.pairs(h)[:, 0, k], flat[:, k])
        assert_close(objective.pairs(h)[:, 1, k], flat[:, 6 + k])


# The whole loss


@pytest.mark.parametrize("open_set", [True, False])
def test_the_loss_equals_a_direct_derivation(open_set: bool) -> None:
    weights = {"binary_weight": 0.7, "unlabelled_weight": 1.3, "open_weight": 0.4}
    objective, batch = iomatch(open_set, threshold=0.25, open_threshold=0.65, **weights)
    with torch.no_grad():
        losses = objective.loss(batch)
        both = torch.cat([batch.labelled.x, batch.unlabelled.x, batch.unlabelled.x])
        h = objective.encoder(both).pooled
        phi, psi = objective.closed(h).numpy(), objective.open(h).numpy()
        chi = objective.others["binary"](objective.open[0](h)).numpy()
    y = batch.labelled.y.numpy()
    p, o = softmax(phi), softmax(chi.reshape(-1, 2, 6))[:, 1]
    supervised = -np.log(p[np.arange(8), y]).mean()
    hardest = [max(-np.log(1 - o[i, k]) for k in range(6) if k != y[i]) for i in range(8)]
    binary = -np.log(o[np.arange(8), y]).mean() + np.mean(hardest)
    # In the first step the queue holds this batch alone: guesses are divided by their own mean.
    aligned = p[8:40] / p[8:40].mean(0)
    aligned /= aligned.sum(1, keepdims=True)
    q = np.concatenate([aligned * o[8:40], (aligned * (1 - o[8:40])).sum(1, keepdims=True)], axis=1)
    inlier = (aligned.max(1) >= 0.25) & (q[:, 6] < 0.5)
    sure = q.max(1) >= 0.65
    unlabelled = (inlier * -(aligned * np.log(p[40:])).sum(1)).mean()
    unknown = (sure * -(q * np.log(softmax(psi[40:]))).sum(1)).mean()
    assert 0 < inlier.mean() < 1
    assert 0 < sure.mean() < 1
    expected = {
        "supervised": supervised,
        "multi_binary": 0.7 * binary,
        "unlabelled": 1.3 * unlabelled,
        "open_set": 0.4 * unknown,
    }
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(expected, rel=2e-3)
    assert float(losses.metrics["inliers"]) == pytest.approx(inlier.mean())
    assert float(losses.metrics["outliers"]) == pytest.approx((q[:, 6] >= 0.5).mean())


def test_with_inliers_alone_it_is_fixmatch_with_soft_labels() -> None:
    objective, batch = iomatch(threshold=0.5, alignment="none")
    # Every class is sure to be there: all samples pass as inliers.
    objective.pairs = lambda h: torch.stack([0 * h[:, :6], 0 * h[:, :6] + 50], 1)
    with torch.no_grad():
        losses = objective.loss(batch)
        both = torch.cat([batch.labelled.x, batch.unlabelled.x, batch.unlabelled.x])
        logits = objective.closed(objective.encoder(both).pooled)
    weak, strong = logits[8:40].softmax(1), logits[40:]
    sure = (weak.amax(1) >= 0.5).float()
    assert 0 < float(sure.mean()) < 1
    assert_close(losses["unlabelled"], masked_soft_cross_entropy(strong, weak, sure))
    assert_close(losses.metrics["inliers"], sure.mean())


class Marked(nn.Module):
    """A view that a gradient can be traced to."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1, 1, 8, 8))

    def forward(self, batch: Batch) -> Batch:
        return batch.with_x(batch.x + self.offset)


@pytest.mark.parametrize("term", ["unlabelled", "open_set"])
def test_consistency_reaches_neither_the_binary_head_nor_the_weak_view(term: str) -> None:
    objective, batch = iomatch(threshold=0.1, open_threshold=0.1)
    objective.others["binary"].weight.data.neg_()  # so that some are taken for known
    # Batch norm would mix the views; in evaluation mode the weak view acts through targets alone.
    objective.encoder.eval()
    objective.weak, objective.strong = Marked(), Marked()
    objective.loss(batch)[term].backward()
    assert objective.others["binary"].weight.grad is None
    assert float(objective.weak.offset.grad.abs().max()) == 0.0
    assert float(objective.strong.offset.grad.abs().max()) > 0.0
    heads = {"unlabelled": objective.closed, "open_set": objective.open[1]}
    for name, head in heads.items():
        reached = [p.grad is not None and bool(p.grad.any()) for p in head.parameters()]
        assert all(reached) if name == term else not any(reached)


def test_labels_alone_teach_the_binary_head_and_never_the_open_one() -> None:
    objective, batch = iomatch(open_threshold=0.1)
    losses = objective.loss(batch)
    (losses["supervised"] + losses["multi_binary"]).backward()
    assert objective.others["binary"].weight.grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in objective.open[0].parameters())
    assert all(p.grad is None for p in objective.open[1].parameters())


def test_the_open_head_waits_for_its_share_of_the_steps() -> None:
    objective, batch = iomatch(open_threshold=0.1, open_warmup=0.25)
    assert objective.loss(batch)["open_set"].item() > 0
    objective.start(8)
    counts = []
    for step in range(8):
        losses = objective.loss(batch)
        counts.append(losses["open_set"].item() > 0)
        objective.after_step(step)
    assert counts == [False] * 2 + [True] * 6
    # A resumed run goes on from where it was.
    other, _ = iomatch(open_threshold=0.1, open_warmup=0.25)
    other.start(8)
    other.load_state_dict(objective.state_dict())
    assert other.loss(batch)["open_set"].item() > 0
    never, _ = iomatch(open_threshold=0.1, open_warmup=0.0)
    never.start(8)
    assert never.loss(batch)["open_set"].item() > 0


def test_all_networks_are_kept_at_their_average() -> None:
    objective, _ = iomatch()
    before = {name: value.clone() for name, value in objective.kept().state_dict().items()}
    assert {n.split(".")[0] for n in before} == {"0", "1", "2"}
    for parameter in objective.kept().parameters():
        parameter.data.add_(1.0)
    objective.finish()
    for name, value in objective.kept().state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_makes_no_sense_is_refused() -> None:
    data, _ = digits()
    with pytest.raises(ConfigError, match="regression"):
        IOMatch(build("residual-cnn", data.spec, width=4), Regression())
    with pytest.raises(ConfigError, match=r"open_threshold=0.0"):
        iomatch(open_threshold=0.0)
    with pytest.raises(ConfigError, match=r"open_warmup=1.0 leaves no step"):
        iomatch(open_warmup=1.0)
    with pytest.raises(ConfigError, match="length=0"):
        iomatch(queue=0)


# From data to files


@pytest.mark.parametrize("task", ["open-set", "classification"])
def test_the_kept_head_is_that_of_the_task_and_comes_back_from_a_file(
    task: str, tmp_path: Path
) -> None:
    data = tacita.load("digits").subset(torch.arange(80))
    y = [str(code) if code < 6 and i < 60 else None for i, code in enumerate(data.y.tolist())]
    model = tacita.adapt(
        "iomatch", data, y, task=task, steps=3, batch_size=8, out=tmp_path / "run", quiet=True
    )
    columns = 7 if task == "open-set" else 6
    loaded = Model.load(tmp_path / "run")
    assert loaded.predict_proba(data).shape == (80, columns)
    assert loaded.learner.logits(data).shape == (80, columns)
    assert torch.equal(loaded.learner.logits(data), model.learner.logits(data))
    assert set(loaded.predict(data)) <= {*KNOWN, *([UNKNOWN] if columns == 7 else [])}
    assert loaded.export(tmp_path / "a.pt2", "torch").is_file()


def test_unknown_digits_are_told_from_known_ones() -> None:
    few, test = digits()
    torch.manual_seed(0)
    encoder = build("residual-cnn", few.spec, width=16)
    engine = {"steps": 250, "batch_size": 24}
    learner = Trained(encoder, IOMatch, options={"unlabelled_ratio": 4}, engine=engine).fit(few)
    scores = learner.task_.scores(learner.logits(test), test.y)
    assert scores["closed_set_accuracy"] > 0.9
    assert scores["unknown_auroc"] > 0.8
    # More than by the same answers without ever saying "unknown", one of the seven.
    assert scores["balanced_accuracy"] > 6 / 7 * scores["closed_set_accuracy"] + 0.02
