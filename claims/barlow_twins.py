"""Barlow Twins: redundancy reduction learns features without labels that a random encoder lacks."""

from __future__ import annotations

from functools import partial

from tacita.claim import probe as claim_probe
from tacita.claim.check import Claim, run
from tacita.pretrain.barlow_twins import BarlowTwins

CLAIM = Claim(
    slug="barlow-twins",
    claim="Features learnt without labels by redundancy reduction separate the classes linearly "
    "and by neighbourhood.",
    baseline=claim_probe.BASELINE,
    data=claim_probe.DATA,
    criterion=claim_probe.CRITERION,
    paper="ImageNet, ResNet-50: linear probe 73.2% top-1 (table 1)",
    differs="a small CNN on 8x8 images, 500 steps of 128 images, projector 256 wide",
)

if __name__ == "__main__":
    run(CLAIM, partial(claim_probe.measure, BarlowTwins), claim_probe.judge)
