"""Causal language modelling: the loss by a direct derivation, and encoders that would see the answer."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders.sequence_model import SequenceModel
from tacita.encoders.text_transformer import TextTransformer
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.pretrain.causal_language_modelling import CausalLanguageModelling
from tacita.values import Ragged

SPEC = InputSpec("text", (20,), vocabulary=13)


def make(layer: str = "gru") -> CausalLanguageModelling:
    torch.manual_seed(0)
    return CausalLanguageModelling(SequenceModel(SPEC, layer=layer, d_model=8, depth=1))


def batch(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(13, (sum(lengths),), generator=generator)
    return Batch.of(Ragged(tokens, torch.tensor(lengths), 20))


def test_the_loss_is_the_mean_surprise_at_each_token_but_the_first() -> None:
    objective = make().double().eval()
    samples = batch(6, 1, 3)
    total, count = 0.0, 0
    for text, length in enumerate((6, 1, 3)):
        for t in range(1, length):
            before = samples.x[text : text + 1, :t]
            last = objective.encoder(before).tokens[0, -1]  # what no later token is part of
            logits = objective.encoder.table @ objective.head_of_tokens.change(last)
            logits = logits + objective.head_of_tokens.bias
            total -= (logits - logits.logsumexp(0))[samples.x[text, t]].item()
            count += 1
    assert count == 7
    found = objective.loss(samples)["prediction"].item()
    assert found == pytest.approx(total / count, rel=1e-6)


def test_texts_of_one_token_cost_nothing() -> None:
    total = make().loss(batch(1, 1)).total
    total.backward()
    assert total.item() == 0


def test_a_rule_from_one_token_to_the_next_is_learnt() -> None:
    start = torch.arange(13).repeat(20)
    texts = (start[:, None] + 5 * torch.arange(12)) % 13
    data = Dataset.of("text", texts, torch.full((260,), -1), vocabulary=13)
    history = train(make("s4d"), data, steps=150, learning_rate=1e-2)
    assert history.rows[-1]["relative_to_frequency"] < 0.2


def test_encoders_that_see_later_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="which this encoder sees"):
        CausalLanguageModelling(TextTransformer(SPEC, dim=16))
    both = SequenceModel(SPEC, d_model=8, depth=1, bidirectional=True)
    with pytest.raises(ConfigError, match="which this encoder sees"):
        CausalLanguageModelling(both)
    with pytest.raises(ConfigError, match="series have none"):
        CausalLanguageModelling(SequenceModel(InputSpec("series", (9, 2)), d_model=8, depth=1))
