"""MoCo v3: contrast with a slow teacher's keys learns features that a random encoder lacks."""

from __future__ import annotations

from functools import partial

from tacita.claim import probe as claim_probe
from tacita.claim.check import Claim, run
from tacita.pretrain.moco_v3 import MoCoV3

CLAIM = Claim(
    slug="moco-v3",
    claim="Features learnt without labels by finding a sample among a slow teacher's keys separate the "
    "classes linearly and by neighbourhood.",
    baseline=claim_probe.BASELINE,
    data=claim_probe.DATA,
    criterion=claim_probe.CRITERION,
    paper="ImageNet, ViT-B/16, 300 epochs: linear probe 76.7% top-1",
    differs="a small CNN on 8x8 images, so no patches to freeze; 500 steps of 128 images, heads of 256",
)

if __name__ == "__main__":
    run(CLAIM, partial(claim_probe.measure, MoCoV3), claim_probe.judge)
