"""Estimators with scikit-learn's manners: a classifier, a regressor and a transformer around any method."""

from __future__ import annotations

from tacita.estimators.classifier import TacitaClassifier
from tacita.estimators.regressor import TacitaRegressor
from tacita.estimators.transformer import TacitaTransformer

__all__ = ["TacitaClassifier", "TacitaRegressor", "TacitaTransformer"]
