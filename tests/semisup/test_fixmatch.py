"""FixMatch can fail silently: guesses that count when they should not, gradients through them,
a mean over the wrong samples. Each is checked against a direct derivation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tacita.data.batch import Batch, SemiBatch
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import Regression
from tests.helpers import assert_close
from tests.semisup.training import labels_alone, score_on_digits


def fixmatch(**options: object) -> tuple[FixMatch, SemiBatch]:
    data = load("digits").normalised()
    torch.manual_seed(0)
    views = {"weak": nn.Identity(), "strong": nn.Identity()}
    objective = FixMatch(
        build("residual-cnn", data.spec, width=4), data.task, **{**views, **options}
    )
    batch = SemiBatch(data.take(torch.arange(8)), data.take(torch.arange(8, 40)))
    return objective, batch


def test_the_loss_equals_a_direct_derivation() -> None:
    objective, batch = fixmatch(threshold=0.2, alignment="none", unlabelled_weight=0.7)
    with torch.no_grad():
        losses = objective.loss(batch)
    both = torch.cat([batch.labelled.x, batch.unlabelled.x, batch.unlabelled.x])
    with torch.no_grad():
        logits = objective.head(objective.encoder(both).pooled).double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    supervised = -np.log(p[np.arange(8), batch.labelled.y.numpy()]).mean()
    weak, strong = p[8:40], p[40:]
    guess, sure = weak.argmax(1), weak.max(1) >= 0.2
    unlabelled = 0.7 * (-np.log(strong[np.arange(32), guess]) * sure).mean()
    assert 0 < sure.mean() < 1
    assert float(losses["supervised"]) == pytest.approx(supervised, rel=1e-4)
    assert float(losses["unlabelled"]) == pytest.approx(unlabelled, rel=1e-4)
    assert float(losses.metrics["confident"]) == pytest.approx(sure.mean())


def test_no_guess_counts_below_the_threshold() -> None:
    objective, batch = fixmatch(threshold=1.0)
    with torch.no_grad():
        losses = objective.loss(batch)
    assert float(losses["unlabelled"]) == 0.0
    assert float(losses["supervised"]) > 0.0


def test_no_gradient_passes_through_a_guess() -> None:
    class Marked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Parameter(torch.zeros(1, 1, 8, 8))

        def forward(self, batch: Batch) -> Batch:
            return batch.with_x(batch.x + self.offset)

    objective, batch = fixmatch(threshold=0.01, alignment="none")
    # Batch norm would mix the views; in evaluation mode the weak view acts through guesses alone.
    objective.encoder.eval()
    objective.weak, objective.strong = Marked(), Marked()
    objective.loss(batch)["unlabelled"].backward()
    assert float(objective.weak.offset.grad.abs().max()) == 0.0
    assert float(objective.strong.offset.grad.abs().max()) > 0.0


@pytest.mark.parametrize("encoder, passes", [("residual-cnn", [72]), ("vit", [32, 40])])
def test_guesses_take_a_pass_of_their_own_unless_batch_norm_wants_all_in_one(encoder, passes):
    objective, batch = fixmatch(threshold=0.05)
    torch.manual_seed(0)
    if encoder == "vit":
        objective = FixMatch(
            build("vit", objective.encoder.spec, dim=16, heads=2, depth=1),
            objective.task,
            weak=nn.Identity(),
            strong=nn.Identity(),
            threshold=0.05,
        )
    seen: list[int] = []
    objective.encoder.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    losses = objective.loss(batch)
    losses.total.backward()
    assert seen == passes
    ours = [parameter.grad.clone() for parameter in objective.encoder.parameters()]
    # Written out: one pass with a gradient over all, and guesses that are cut off from it.
    objective.zero_grad()
    weak, labelled, strong = objective.logits(batch.unlabelled, batch.labelled, batch.unlabelled)
    q = objective.alignment(weak.detach().softmax(1))
    sure = (q.max(1).values >= 0.05).float()
    each = nn.functional.cross_entropy(strong, q.argmax(1), reduction="none")
    expected = nn.functional.cross_entropy(labelled, batch.labelled.y) + (sure * each).mean()
    expected.backward()
    assert float(sure.mean()) > 0
    assert_close(losses.total, expected)
    for mine, parameter in zip(ours, objective.encoder.parameters(), strict=True):
        assert_close(mine, parameter.grad)


def test_the_labels_of_unlabelled_samples_are_never_read() -> None:
    objective, batch = fixmatch(threshold=0.05)
    other = SemiBatch(
        batch.labelled,
        Batch(batch.unlabelled.x, torch.full((32,), -1), batch.unlabelled.index),
    )
    before = objective.state_dict()
    first = {k: v.clone() for k, v in before.items()}
    loss = objective.loss(batch).total
    objective.load_state_dict(first)
    assert_close(objective.loss(other).total, loss)


def test_alignment_divides_by_the_running_mean_of_guesses() -> None:
    objective, _ = fixmatch()
    alignment = objective.alignment
    alignment.mean.copy_(torch.tensor([0.55, *[0.05] * 9]))
    q = alignment(torch.full((4, 10), 0.1))
    mean = alignment.mean
    expected = (1 / mean) / (1 / mean).sum()
    assert_close(q[0], expected)
    assert q[0].argmax() != 0


def test_the_averaged_weights_are_the_ones_kept() -> None:
    objective, _ = fixmatch()
    for parameter in objective.encoder.parameters():
        parameter.data.add_(1.0)
    kept = {k: v.clone() for k, v in objective.average.teacher[0].state_dict().items()}
    objective.finish()
    for name, value in objective.encoder.state_dict().items():
        assert torch.equal(value, kept[name])


def test_a_task_without_classes_is_refused() -> None:
    data = load("digits").normalised()
    with pytest.raises(ConfigError, match="regression"):
        FixMatch(build("residual-cnn", data.spec, width=4), Regression())


def test_a_threshold_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"threshold=1\.5"):
        fixmatch(threshold=1.5)


def test_unlabelled_samples_help_on_held_out_digits() -> None:
    assert score_on_digits(FixMatch) > labels_alone(FixMatch) + 0.03
