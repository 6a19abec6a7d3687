"""The page's figures as plain plotly specifications: one small function each."""

from tacita.report.figures.candidates import leaderboard, learning_curve, learning_rate
from tacita.report.figures.forecast import error_by_step, forecasts
from tacita.report.figures.importance import importance
from tacita.report.figures.map import embedding_map
from tacita.report.figures.predictions import calibration, confusion, predicted_against_true
from tacita.report.figures.spec import Figure
from tacita.report.figures.thresholds import precision_and_recall, roc

__all__ = [
    "Figure",
    "calibration",
    "confusion",
    "embedding_map",
    "error_by_step",
    "forecasts",
    "importance",
    "leaderboard",
    "learning_curve",
    "learning_rate",
    "precision_and_recall",
    "predicted_against_true",
    "roc",
]
