"""SimSiam: a predictor and a stop-gradient learn features that a random encoder lacks."""

from __future__ import annotations

from functools import partial

from tacita.claim import probe as claim_probe
from tacita.claim.check import Claim, run
from tacita.pretrain.simsiam import SimSiam

CLAIM = Claim(
    slug="simsiam",
    claim="Features learnt without labels by a predictor and a stop-gradient separate the classes linearly "
    "and by neighbourhood.",
    baseline=claim_probe.BASELINE,
    data=claim_probe.DATA,
    criterion=claim_probe.CRITERION,
    paper="ImageNet, ResNet-50, 800 epochs: linear probe 71.3% top-1 (table 4)",
    differs="a small CNN on 8x8 images, 500 steps of 128 images, projector 256 wide",
)

if __name__ == "__main__":
    run(CLAIM, partial(claim_probe.measure, SimSiam), claim_probe.judge)
