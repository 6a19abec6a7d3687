"""BYOL: predicting a slow teacher learns features that a random encoder lacks."""

from __future__ import annotations

from functools import partial

from tacita.catalog import claim_probe
from tacita.catalog.claim_check import Claim, run
from tacita.pretrain.byol import BYOL

CLAIM = Claim(
    slug="byol",
    claim="Features learnt without labels by predicting a slow teacher's view separate the classes linearly "
    "and by neighbourhood.",
    baseline=claim_probe.BASELINE,
    data=claim_probe.DATA,
    criterion=claim_probe.CRITERION,
    paper="ImageNet, ResNet-50, 1000 epochs: linear probe 74.3% top-1 (table 1)",
    differs="a small CNN on 8x8 images, 500 steps of 128 images, momentum from 0.99, embeddings of 256; "
    "the gain is uneven: a fourth and fifth seed pass, one by 3.7 points of the probe, and in a shorter run "
    "of 400 steps one seed's k-NN did not gain (73.0% against 73.7% untrained)",
)

if __name__ == "__main__":
    run(CLAIM, partial(claim_probe.measure, BYOL), claim_probe.judge)
