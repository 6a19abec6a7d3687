"""A transformer with scikit-learn's manners: rows to the features of an encoder that learnt from them."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tacita.estimators.base import Array, TacitaEstimator
from tacita.learner import EncoderOnly
from tacita.modalities.memory import as_dataset
from tacita.model.build import pretrain_encoder
from tacita.model.metrics import Metrics
from tacita.model.model import Model


class TacitaTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TacitaEstimator):
    """Learn features from rows without a label, and give those of any row: an encoder in a pipeline.

    Arguments are those of `TacitaEstimator`; the usual method is `barlow-twins`, and any of the family
    `pretrain` will do. Labels are not looked at. In cross-validation it is fitted on each training part
    alone, as every step of a pipeline is; fit it on all rows beforehand where that is what you want.

    >>> from sklearn.datasets import load_wine
    >>> X, _ = load_wine(return_X_y=True)
    >>> TacitaTransformer(steps=2, batch_size=16, random_state=0).fit_transform(X).shape
    (178, 128)
    """

    section = "pretrain"
    usual = "barlow-twins"

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from all rows. Raises `ConfigError` for options that the method does not have."""
        data = as_dataset(self._samples(X, reset=True), modality=self._modality).normalised()
        recipe = self._recipe(data, self._seed())
        encoder, _, _ = pretrain_encoder(recipe, data, device=self.device)
        learner = EncoderOnly(encoder).fit(data)
        self.model_ = Model(recipe, learner, Metrics(protocol="one training", winner=recipe.name))
        return self

    def transform(self, X: Any) -> Array:
        """`(N, dim)` features, float32."""
        return self.embed(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # Features are float32, whatever goes in.
        return tags

    @property
    def _n_features_out(self) -> int:
        check_is_fitted(self, "model_")
        encoder = self.model_.learner.encoder
        assert encoder is not None
        return encoder.dim
