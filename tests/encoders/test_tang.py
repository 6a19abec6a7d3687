"""The network of the radio galaxies has the paper's sizes, and sees nothing outside the circle."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.data.batch import InputSpec
from tacita.data.splits import hold_out
from tacita.encoders import build
from tacita.encoders.tang import TangCNN
from tacita.errors import ConfigError
from tacita.modalities.images.circle import RotationInvariantViews, in_circle
from tacita.modalities.load import load
from tacita.tasks import Classification
from tests.helpers import assert_close

SPEC = InputSpec("images", (1, 150, 150))


def test_sides_are_those_of_the_paper() -> None:
    encoder, sides = TangCNN(SPEC), []
    for part in encoder.convolutions:
        if isinstance(part, nn.Conv2d | nn.MaxPool2d):
            part.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    features, pooled = encoder(torch.randn(2, 1, 150, 150))
    assert sides == [142, 71, 35, 17, 17, 17, 17, 4]
    assert features.shape == (2, 1, 256)
    head = Classification(("FR I", "FR II")).head(encoder.dim)
    assert head(pooled).shape == (2, 2)


def test_corners_are_not_seen() -> None:
    torch.manual_seed(0)
    encoder = TangCNN(SPEC).eval()
    x = torch.randn(2, 1, 150, 150)
    assert torch.equal(encoder(x).pooled, encoder(in_circle(x)).pooled)
    corner = x.clone()
    corner[..., :20, :20] = 50
    assert torch.equal(encoder(corner).pooled, encoder(x).pooled)


def test_smaller_images_are_seen_enlarged() -> None:
    torch.manual_seed(0)
    large = TangCNN(SPEC).eval()
    small = TangCNN(InputSpec("images", (1, 75, 75))).eval()
    small.load_state_dict(large.state_dict())
    x = torch.randn(2, 1, 75, 75)
    enlarged = nn.functional.interpolate(x, (150, 150), mode="bilinear")
    assert_close(small(x).pooled, large(enlarged).pooled)


def test_dropout_acts_in_training_alone_and_must_be_a_share() -> None:
    encoder = TangCNN(SPEC)
    x = torch.randn(3, 1, 150, 150)
    off = build("tang-cnn", SPEC, dropout=0.0)
    off.load_state_dict(encoder.state_dict())
    assert_close(encoder.eval()(x).pooled, off.eval()(x).pooled)
    zeros = (encoder.train()(x).pooled == 0).float().mean()
    assert zeros > (off.train()(x).pooled == 0).float().mean() + 0.1
    with pytest.raises(ConfigError, match=r"dropout=1\.0"):
        TangCNN(SPEC, dropout=1.0)


@pytest.mark.long
def test_trained_on_turned_digits_it_knows_them_lying_down() -> None:
    data = load("digits")
    two = replace(data.subset(data.y < 2), task=Classification(("0", "1")))
    kept, held = hold_out(two, 0.3, 0)
    pool, test = two.subset(kept).normalised(), two.subset(held)
    lying = test.with_samples(test.x.rot90(1, (2, 3)))
    engine = {"steps": 40, "batch_size": 16, "learning_rate": 1e-3}
    scores = []
    for views in (RotationInvariantViews(), None):
        torch.manual_seed(0)
        encoder = build("tang-cnn", pool.spec)
        learner = Trained(encoder, Supervised, options={"views": views}, engine=engine)
        scores.append(learner.fit(pool).score(lying))
    turned, upright = scores
    assert turned > 0.95
    assert turned > upright + 0.05
