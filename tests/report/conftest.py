"""Realistic content for the pages under test: digits, a series set, and what strangers might send."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from tacita.data.dataset import Dataset
from tacita.measures.calibration import reliability
from tacita.measures.errors import confident_errors, confusion, largest_errors
from tacita.measures.ranks import operating
from tacita.model.metrics import Metrics, PretrainingRow, Row
from tacita.report import analysis
from tacita.report.content import (
    EmbeddingMap,
    GroupRow,
    Health,
    Importance,
    RegressionFit,
    ReportContent,
    SampleError,
    sample_errors,
    verdict,
)
from tacita.tasks import Classification, Regression

VERSIONS = {"tacita": "0.1.0", "python": "3.11.9", "torch": "2.14.1", "scikit-learn": "1.9.0"}
RECIPE = """data: digits.npz
seed: 0
objective:
  fixmatch:
    threshold: 0.95
    unlabelled_ratio: 7
encoder:
  residual-cnn:
    width: 32
engine:
  steps: 1500
  batch_size: 64
  learning_rate: 0.03
"""


def board(metric: str = "accuracy") -> list[Row]:
    """Figures as a run on digits gave them."""
    draw = np.random.default_rng(0)
    means = {
        "fixmatch": (0.960, 0.008, 41.0, False),
        "barlow-twins + fine-tune": (0.884, 0.021, 38.0, False),
        "supervised": (0.817, 0.031, 12.0, False),
        "label spreading (10 neighbours)": (0.770, 0.026, 0.2, True),
        "logistic regression": (0.684, 0.030, 0.1, True),
        "random forest": (0.669, 0.034, 0.9, True),
    }
    return [
        Row(
            name=name,
            metric=metric,
            mean=mean,
            std=std,
            interval=(mean - 0.05, min(1.0, mean + 0.04)),
            folds=[float(fold) for fold in draw.normal(mean, std, 5).clip(0, 1)],
            seconds=seconds,
            peak_mb=310.0 if not baseline else 180.0,
            baseline=baseline,
            rank=38.2 if name.startswith("barlow-twins") else None,
        )
        for name, (mean, std, seconds, baseline) in means.items()
    ]


def curves() -> dict[str, list[dict[str, float]]]:
    steps = np.arange(10, 1510, 10)
    draw = np.random.default_rng(1)

    def falling(start: float, end: float, rate: float) -> np.ndarray:
        noise = 1 + 0.05 * draw.normal(size=len(steps))
        return (end + (start - end) * np.exp(-steps / rate)) * noise

    pairs = {
        "fixmatch": {"labelled": falling(2.3, 0.02, 180), "unlabelled": falling(0.6, 0.2, 500)},
        "barlow-twins + fine-tune": {
            "invariance": falling(40.0, 2.0, 200),
            "redundancy": falling(12.0, 3.0, 300),
        },
        "supervised": {"cross_entropy": falling(2.3, 0.05, 150)},
    }
    return {
        name: [
            {"step": int(step)} | {term: float(values[i]) for term, values in terms.items()}
            for i, step in enumerate(steps)
        ]
        for name, terms in pairs.items()
    }


@pytest.fixture(scope="session")
def full() -> ReportContent:
    """Digits by a logistic regression on 20 labels: real images, real mistakes."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:500]
    x, y = x[order] / 16, y[order]
    labelled = np.concatenate([np.flatnonzero(y == digit)[:2] for digit in range(10)])
    held_out = np.arange(len(x)) >= 300
    labelled = labelled[labelled < 300]
    model = LogisticRegression(max_iter=500).fit(x[labelled], y[labelled])
    probabilities = model.predict_proba(x[held_out])
    classes = tuple(str(digit) for digit in range(10))
    images = (x.reshape(-1, 1, 8, 8) * 255).astype(np.uint8)
    data = Dataset.of(
        "images",
        torch.from_numpy(images),
        torch.from_numpy(y),
        Classification(classes),
        ids=tuple(f"digits/{i:04d}.png" for i in order),
    )
    predicted, truth = probabilities.argmax(1), y[held_out]
    matrix = confusion(predicted, truth, 10)
    worst = confident_errors(probabilities, truth, 40)
    plane = analysis.embedding_map(x)
    right = np.ones(len(x), dtype=bool)
    right[held_out] = predicted == truth
    seen = np.zeros(len(x), dtype=bool)
    seen[labelled] = True
    metrics = Metrics(
        winner="fixmatch",
        versions=VERSIONS,
        protocol="5 draws of 2 labels a class, each scored on the same 539 held-out samples",
        spread="The spread is one standard deviation over 5 draws.",
        majority={"accuracy": 0.11},
        chance={"accuracy": 0.1},
        leaderboard=board(),
        pretrainings=[
            PretrainingRow(
                name="fixmatch", probe=0.947, knn=0.931, rank=57.3, width=128, alignment=0.96,
                uniformity=-0.74, seconds=61.2, peak_mb=972.0,
            ),
            PretrainingRow(
                name="vicreg", probe=0.941, knn=0.922, rank=91.6, width=256, alignment=0.97,
                uniformity=-0.81, seconds=60.4, peak_mb=974.0,
            ),
            PretrainingRow(name="byol", error="The loss term 'prediction' became nan by step 20."),
        ],
        held_out={"accuracy": 0.958, "balanced_accuracy": 0.957, "log_loss": 0.183},
        held_out_intervals={"accuracy": (0.937, 0.972)},
    )  # fmt: skip
    curves_ = [operating(name, probabilities[:, k], truth == k) for k, name in enumerate(classes)]
    return ReportContent(
        title="digits: 1,797 images, 20 labels",
        created="2026-07-14 10:32 · seed 0 · budget 4 min · CPU, 2 threads",
        command="tacita fit digits.npz --labels digits.csv --budget 4m --seed 0 --out runs/digits",
        description=[
            "1,797 images of 8 by 8 pixels, 1 channel",
            "20 of 1,797 labelled, 10 classes (2 of each)",
            "539 labelled samples held out, stratified",
        ],
        warnings=["3 images appear twice: digits/0012.png, digits/0871.png, digits/1650.png."],
        metrics=metrics,
        verdict=verdict(metrics),
        curves=curves(),
        map=EmbeddingMap(
            plane.xy,
            np.where(held_out | seen, y, -1),
            seen,
            data.ids,
            held_out,
            right,
            method=plane.method,
        ),
        classes=classes,
        confusion=matrix,
        per_class=analysis.per_class(matrix, classes),
        calibration=analysis.calibration(
            reliability(torch.from_numpy(probabilities), torch.from_numpy(truth))
        ),
        errors=sample_errors(
            data, np.flatnonzero(held_out)[worst], predicted[worst], probabilities.max(1)[worst]
        ),
        of="200 held-out samples.",
        judged="200 held-out samples, which nothing was learnt from.",
        operating=[curve for curve in curves_ if curve is not None],
        groups=[GroupRow("writer 3", 12, 0.75, (0.47, 0.91)), GroupRow("writer 0", 9, 1.0)],
        group_metric="accuracy",
        suspects=sample_errors(data, np.array([3]), np.array([1]), np.array([0.93])),
        suspected="1 of the 20 labels that were learnt from.",
        importance=[Importance("pixel 3", 0.2, 0.05), Importance("pixel 9", -0.01, 0.02)],
        importance_metric="log_loss",
        health=Health(
            {
                "effective_rank": 41.3,
                "feature_spread": 0.71,
                "dead_features": 0,
                "knn_accuracy": 0.94,
            }
        ),
        recipe=RECIPE,
    )


@pytest.fixture(scope="session")
def regression() -> ReportContent:
    """Diabetes by ridge regression: rows as the largest errors, a map coloured by value."""
    loaded = load_diabetes()
    x, y = loaded.data.astype(np.float32), loaded.target.astype(np.float32)
    x, y = x[:300], y[:300]
    predicted = Ridge(alpha=0.1).fit(x[:60], y[:60]).predict(x[60:])
    data = Dataset.of(
        "tables",
        torch.from_numpy(x),
        torch.from_numpy(y),
        Regression(),
        columns=tuple(loaded.feature_names),
    )
    worst = largest_errors(predicted, y[60:], 8)
    seen = np.arange(300) < 60
    plane = analysis.embedding_map(x)
    values = np.where(np.arange(300) < 250, y, np.nan)
    names = [data.name_of(i) for i in range(300)]
    rows = [
        Row(
            name="ridge", metric="r2", mean=0.41, std=0.05, folds=[0.36, 0.46, 0.41], baseline=True
        ),
        Row(name="masked reconstruction", metric="r2", mean=0.39, std=0.08, folds=[0.31, 0.47]),
    ]
    metrics = Metrics(
        winner="ridge", leaderboard=rows, held_out={"r2": 0.41, "mean_absolute_error": 44.1}
    )
    return ReportContent(
        title="diabetes: 442 rows, 60 values",
        metrics=metrics.model_copy(update={"versions": {}}),
        verdict=verdict(metrics),
        map=EmbeddingMap(
            plane.xy, np.full(300, -1), seen, names, values=values, method=plane.method
        ),
        regression=RegressionFit(y[60:], predicted),
        errors=sample_errors(data, worst + 60, predicted[worst], None),
    )


@pytest.fixture(scope="session")
def ordinal() -> ReportContent:
    """Four ordered grades of heartbeats, with series among the errors and one fold."""
    grades = ("none", "mild", "moderate", "severe")
    matrix = np.array([[40, 6, 1, 0], [5, 22, 4, 0], [0, 5, 11, 3], [0, 0, 2, 0]])
    time = np.linspace(0, 12, 700)
    beat = np.stack([np.sin(time) + (abs(time - 5) < 0.03) * 4, np.cos(3 * time), time], 1)
    beat[300:340, 1] = np.nan
    errors = [
        SampleError(
            f"patient-{i}.csv", grades[i], grades[3 - i], 0.99 - 0.1 * i, beat[: 500 - 150 * i]
        )
        for i in range(3)
    ]
    return ReportContent(
        title="heartbeats",
        metrics=Metrics(
            versions={},
            winner="mae + probe",
            leaderboard=[
                Row(name="mae + probe", metric="quadratic_kappa", mean=0.81, std=0.0, folds=[0.81])
            ],
        ),
        classes=grades,
        confusion=matrix,
        per_class=analysis.per_class(matrix, grades),
        errors=errors,
        health=Health(
            {"effective_rank": 1.1}, ["The features have collapsed: effective rank 1.1 of 64."]
        ),
    )


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(1)">'


def hostile_row(name: str, mean: float, std: float, folds: list[float]) -> Row:
    """A row that no check has seen."""
    return Row.model_construct(name=name, metric="accuracy", mean=mean, std=std, folds=folds)


@pytest.fixture(scope="session")
def hostile() -> ReportContent:
    """HTML in every text, figures that are not numbers, names that no encoding likes."""
    nan = float("nan")
    names = [
        HOSTILE,
        '<a href="javascript:alert(1)">x</a>',
        "--accent",
        "\u202egnp.exe",
        "a\ud800\x00\n'\"&{{7*7}}",
    ]
    codes = np.arange(5)
    image = np.full((3, 4, 4), nan, dtype=np.float32)
    return ReportContent(
        title=HOSTILE,
        created=HOSTILE,
        command=HOSTILE,
        description=[HOSTILE],
        warnings=[HOSTILE],
        verdict=HOSTILE,
        metrics=Metrics.model_construct(
            versions={HOSTILE: HOSTILE},
            protocol=HOSTILE,
            spread=HOSTILE,
            ranked_by=HOSTILE,
            winner="%{customdata}",
            leaderboard=[
                hostile_row(HOSTILE, nan, nan, [nan]),
                hostile_row("%{customdata}", 0.5, nan, [0.5, nan]),
                *[hostile_row(name, 0.4, 0.1, [0.4]) for name in names],
            ],
            held_out={HOSTILE: nan, "accuracy": float("inf")},
        ),
        curves={
            HOSTILE: [{"step": i, HOSTILE: nan if i % 2 else 1.0 / (i + 1)} for i in range(2000)],
            "nothing finite": [{"step": 1, "loss": nan}],
            "empty": [],
        },
        map=EmbeddingMap(
            np.array([[0.0, 1.0], [1.0, nan], [2.0, 2.0], [3.0, 1.0], [4.0, 0.0]]),
            codes,
            codes < 3,
            names,
            held_out=codes > 2,
            correct=codes < 4,
            method=HOSTILE,
        ),
        classes=names,
        confusion=np.eye(5, dtype=np.int64),
        per_class=analysis.per_class(np.eye(5, dtype=np.int64), names),
        calibration=analysis.calibration(reliability(torch.eye(5), torch.arange(5))),
        errors=[
            SampleError(HOSTILE, HOSTILE, names[4], 0.9, image),
            SampleError(names[3], HOSTILE, HOSTILE, nan, np.full((5, 2), nan)),
            SampleError(HOSTILE, HOSTILE, HOSTILE, 1.0, {HOSTILE: HOSTILE, "n": nan}),
            SampleError(HOSTILE, HOSTILE, HOSTILE, 1.0, None),
        ],
        judged=HOSTILE,
        of=HOSTILE,
        operating=[operating(HOSTILE, codes / 5, codes > 2), operating(names[4], codes, codes > 3)],
        groups=[GroupRow(HOSTILE, 3, nan)],
        group_metric="accuracy",
        suspects=[SampleError(HOSTILE, HOSTILE, HOSTILE, 1.0, None)],
        suspected=HOSTILE,
        importance=[Importance(HOSTILE, nan, nan), Importance(names[4], 0.1, 0.1)],
        importance_metric=HOSTILE,
        health=Health({HOSTILE: nan}, [HOSTILE]),
        recipe=HOSTILE,
    )
