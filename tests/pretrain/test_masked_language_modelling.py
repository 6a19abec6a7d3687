"""Masked language modelling: what is chosen and hidden, and the loss by a direct derivation."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.encoders.sequence_model import SequenceModel
from tacita.encoders.text_transformer import TextTransformer
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.pretrain.masked_language_modelling import MaskedLanguageModelling, corrupt
from tacita.values import Ragged

HIDDEN, BEGIN, END = 0, 1, 2
SPEC = InputSpec("text", (30,), vocabulary=50, hidden_token=HIDDEN, specials=(HIDDEN, BEGIN, END))


def make(**options: float) -> MaskedLanguageModelling:
    torch.manual_seed(0)
    return MaskedLanguageModelling(TextTransformer(SPEC, dim=16, depth=1, dropout=0.0), **options)


def batch(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 50, (sum(lengths),), generator=generator)
    return Batch.of(Ragged(tokens, torch.tensor(lengths), 30))


def test_fifteen_per_cent_are_chosen_one_at_least_and_never_a_special_one() -> None:
    x = torch.arange(3, 23).repeat(400, 1)
    x[:, 0], x[:, 19] = BEGIN, END
    allowed = torch.ones_like(x, dtype=torch.bool)
    allowed[:, 0] = allowed[:, 19] = False
    allowed[1, 3:] = False  # a text of two tokens
    allowed[2] = False  # and one of none
    torch.manual_seed(0)
    seen, chosen = corrupt(x, allowed, 0.15, HIDDEN, 50)
    counts = chosen.sum(1)
    assert counts[0] == round(18 * 0.15)
    assert (int(counts[1]), int(counts[2])) == (1, 0)
    assert not bool((chosen & ~allowed).any())
    assert torch.equal(seen[~chosen], x[~chosen])


def test_of_the_chosen_eight_tenths_are_hidden_and_a_tenth_each_changed_and_kept() -> None:
    torch.manual_seed(0)
    x = torch.randint(3, 50, (2000, 30))
    seen, chosen = corrupt(x, torch.ones_like(x, dtype=torch.bool), 0.15, HIDDEN, 50)
    share = chosen.float().mean().item()
    assert share == pytest.approx(4 / 30)  # round(4.5) is the even number
    hidden = (seen == HIDDEN)[chosen].float().mean().item()
    kept = (seen == x)[chosen].float().mean().item()
    # A random token is the hidden one, or the same, once in fifty.
    assert hidden == pytest.approx(0.8 + 0.1 / 50, abs=0.015)
    assert kept == pytest.approx(0.1 + 0.1 / 50, abs=0.015)
    uniform = x.float().var(0).mean().item() / ((47**2 - 1) / 12)
    assert uniform == pytest.approx(1, abs=0.05)
    places = chosen.float().mean(0)
    assert float(places.std()) < 0.01  # no place is preferred


def test_the_loss_is_the_mean_surprise_at_the_chosen_tokens() -> None:
    objective = make().double()
    samples = batch(30, 12, 1)
    torch.manual_seed(5)
    losses = objective.loss(samples)
    torch.manual_seed(5)
    x = samples.x
    seen, chosen = corrupt(x, samples.mask, 0.15, HIDDEN, 50)
    tokens = objective.encoder(samples.with_x(seen)).tokens
    head, total, count = objective.head_of_tokens, 0.0, 0
    for text in range(3):
        for place in range(30):
            if not chosen[text, place]:
                continue
            h = head.change(tokens[text, place])
            logits = objective.encoder.table @ h + head.bias
            total -= (logits - logits.logsumexp(0))[x[text, place]].item()
            count += 1
    assert count == 4 + 2 + 1
    assert losses["prediction"].item() == pytest.approx(total / count, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    objective = make().double()
    samples = batch(20, 9)
    weight = objective.encoder.enter.weight

    def value() -> torch.Tensor:
        torch.manual_seed(1)
        return objective.loss(samples).total

    value().backward()
    direction = torch.randn(weight.shape, dtype=torch.float64)
    slope = float((weight.grad * direction).sum())
    with torch.no_grad():
        weight += 1e-6 * direction
        above = value().item()
        weight -= 2e-6 * direction
        below = value().item()
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-4)


def test_what_stands_in_padding_does_not_matter() -> None:
    objective = make().eval()
    samples = batch(30, 4)
    dirty = Ragged.of(samples.x.masked_fill(~samples.mask, 49), samples.lengths)
    losses = []
    for each in (samples, samples.with_samples(dirty)):
        torch.manual_seed(2)
        losses.append(objective.loss(each).total.item())
    assert losses[0] == losses[1]


def test_texts_without_anything_to_predict_cost_nothing() -> None:
    nothing = Batch.of(torch.full((2, 3), BEGIN))
    total = make().loss(nothing).total
    total.backward()
    assert total.item() == 0


def test_a_rule_is_learnt_that_only_the_context_tells() -> None:
    # Each text repeats one token: what is hidden is what stands beside it.
    tokens = torch.arange(3, 50).repeat_interleave(8)[torch.randperm(376)][:, None].expand(-1, 12)
    data = Dataset.of(
        "text", tokens.contiguous(), torch.full((376,), -1),
        vocabulary=50, hidden_token=HIDDEN, specials=(HIDDEN,),
    )  # fmt: skip
    torch.manual_seed(0)
    objective = MaskedLanguageModelling(build("text-transformer", data.spec, dim=32))
    history = train(objective, data, steps=150, learning_rate=3e-3)
    assert history.rows[-1]["relative_to_frequency"] < 0.3


def test_it_works_on_sequence_models_and_is_refused_elsewhere() -> None:
    torch.manual_seed(0)
    model = SequenceModel(SPEC, d_model=16, depth=1)
    MaskedLanguageModelling(model).loss(batch(9, 30)).total.backward()
    assert model.table.shape == (50, 16)
    with pytest.raises(ConfigError, match="series have none"):
        MaskedLanguageModelling(SequenceModel(InputSpec("series", (9, 2)), d_model=16, depth=1))
    plain = TextTransformer(InputSpec("text", (30,), vocabulary=50), dim=16)
    with pytest.raises(ConfigError, match="no token that stands for hidden"):
        MaskedLanguageModelling(plain)
    with pytest.raises(ConfigError, match="mask_ratio=1"):
        make(mask_ratio=1.0)
