"""Causal language modelling: every token of a text is predicted from those before it.

Bengio et al., "A Neural Probabilistic Language Model", 2003; as pretraining Radford et al., 2018. For
encoders that see no later token; each text gives as many predictions as it has tokens.
"""

from __future__ import annotations

import torch

from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.language import LanguageHead, require_language


@method(
    "causal-language-modelling",
    title="Causal language modelling",
    paper="https://www.jmlr.org/papers/v3/bengio03a.html",
    year=2003,
    family="pretrain",
    needs=("tokens", "steps"),
    labels="none",
    summary="Pretrains a causal encoder of texts without labels, by predicting each next token.",
    reuses=("language",),
)
class CausalLanguageModelling(Objective[Batch]):
    """Cross-entropy of each token but the first, given those before it: `-log p(x_t | x_1 ... x_{t-1})`.

    The metric is the loss relative to that of saying how often each token occurs: above 1, nothing has
    been learnt; the head's bias begins there.

    Raises `ConfigError` for an encoder without tokens of a vocabulary, and for one that sees later tokens.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "schedule": "linear",
        "warmup": 0.1,
    }

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = require_language(encoder, "causal-language-modelling")
        if not encoder.causal:
            raise ConfigError(
                "causal-language-modelling predicts the next token, which this encoder sees.",
                remedy="Choose encoder=sequence-model with a causal layer, or masked-language-modelling.",
            )
        self.head_of_tokens = LanguageHead(encoder.dim, encoder.spec.vocabulary)

    def prepare(self, data: Dataset) -> None:
        self.head_of_tokens.begin_from(data)

    def loss(self, batch: Batch) -> Losses:
        x = batch.x
        follows = torch.ones_like(x[:, 1:], dtype=torch.bool)
        if batch.mask is not None:
            follows = batch.mask[:, 1:]
        tokens = self.encoder(batch).tokens[:, :-1]
        # Texts of one token have nothing to predict: where all are, the loss is zero.
        loss, relative = self.head_of_tokens.surprise(
            tokens[follows], self.encoder.table, x[:, 1:][follows]
        )
        return Losses({"relative_to_frequency": relative}, prediction=loss)
