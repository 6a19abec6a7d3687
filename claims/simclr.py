"""SimCLR: telling samples apart learns features without labels that a random encoder lacks."""

from __future__ import annotations

from functools import partial

from tacita.claim import probe as claim_probe
from tacita.claim.check import Claim, run
from tacita.pretrain.simclr import SimCLR

CLAIM = Claim(
    slug="simclr",
    claim="Features learnt without labels by telling samples apart separate the classes linearly "
    "and by neighbourhood.",
    baseline=claim_probe.BASELINE,
    data=claim_probe.DATA,
    criterion=claim_probe.CRITERION,
    paper="ImageNet, ResNet-50, 1000 epochs: linear probe 69.3% top-1 (table 6)",
    differs="a small CNN on 8x8 images, 500 steps of 128 images, temperature 0.2, embeddings of 128",
)

if __name__ == "__main__":
    run(CLAIM, partial(claim_probe.measure, SimCLR), claim_probe.judge)
