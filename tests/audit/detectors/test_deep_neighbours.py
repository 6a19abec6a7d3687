"""Clean samples get uniform p-values, strangers small ones; and the distance is that of the definition."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.audit.detectors.deep_neighbours import DeepNeighbours
from tacita.audit.poison import Poisoned, Quarantine, p_values
from tacita.claim.mismatch import UnknownClasses
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.learner import features
from tacita.modalities.load import load
from tests.helpers import assert_close

DIGITS = load("digits")
KNOWN = ("0", "1", "2", "3", "4", "5")


@pytest.fixture(scope="module")
def pools() -> tuple[DeepNeighbours, Poisoned, Poisoned]:
    """Neighbours among samples of the known digits; a clean pool to compare with, one with strangers."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    learnt, clean, rest = (DIGITS.subset(part) for part in order.split([600, 600, 597]))
    known = UnknownClasses(KNOWN, share=0.0)
    taught = known.apply(learnt).data
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build("residual-cnn", DIGITS.spec, width=8)
    model = Trained(encoder, Supervised, engine={"steps": 100, "batch_size": 64}).fit(taught)
    reference = taught.normalised(model.data_.normaliser)
    return (
        DeepNeighbours(model.encoder, reference, k=5),
        known.apply(clean),
        UnknownClasses(KNOWN, share=0.4).apply(rest),
    )


def test_the_poison_says_truly_who_is_a_stranger(
    pools: tuple[DeepNeighbours, Poisoned, Poisoned],
) -> None:
    _, clean, mixed = pools
    assert not clean.flags.any()
    strangers = [DIGITS.task.classes[code] for code in DIGITS.y[mixed.data.index[mixed.flags]]]
    assert strangers
    assert not set(strangers) & set(KNOWN)
    others = [DIGITS.task.classes[code] for code in DIGITS.y[mixed.data.index[~mixed.flags]]]
    assert set(others) == set(KNOWN)


def test_clean_samples_have_uniform_p_values_and_strangers_small_ones(
    pools: tuple[DeepNeighbours, Poisoned, Poisoned],
) -> None:
    detector, clean, mixed = pools
    reference = detector.scores(clean.data)
    p = p_values(detector.scores(mixed.data), reference)
    # Null calibration: other clean samples than those compared with.
    assert kstest(p[~mixed.flags].numpy(), "uniform").pvalue > 0.01
    assert kstest(p[mixed.flags].numpy(), "uniform").pvalue < 1e-6
    assert roc_auc_score(mixed.flags.numpy(), 1 - p.numpy()) > 0.85


def test_a_quarantine_loses_its_level_of_the_clean_and_most_strangers(
    pools: tuple[DeepNeighbours, Poisoned, Poisoned],
) -> None:
    detector, clean, mixed = pools
    left = Quarantine(detector, detector.scores(clean.data), level=0.1).clean(mixed.data)
    kept = torch.isin(mixed.data.index, left.index)
    assert 0.8 < kept[~mixed.flags].double().mean() < 0.97
    assert kept[mixed.flags].double().mean() < 0.5


def test_the_score_is_the_distance_to_the_kth_nearest() -> None:
    few = DIGITS.subset(torch.arange(30)).normalised()
    torch.manual_seed(0)
    encoder = build("residual-cnn", few.spec, width=4)
    z = features(encoder, few)
    z = z / z.norm(dim=1, keepdim=True)
    expected = torch.stack([(row - z).norm(dim=1).sort().values[2] for row in z])
    scores = DeepNeighbours(encoder, few, k=3).scores(few)
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)


def test_p_values_count_those_that_score_as_high() -> None:
    clean = torch.tensor([3.0, 1.0, 2.0, 2.0])
    scores = torch.tensor([0.0, 2.0, 2.5, 9.0])
    expected = [(1 + sum(c >= s for c in clean.tolist())) / 5 for s in scores.tolist()]
    assert_close(p_values(scores, clean), torch.tensor(expected, dtype=torch.float64))
    with pytest.raises(ConfigError, match="no clean scores"):
        p_values(scores, torch.empty(0))


def test_options_that_make_no_sense_are_refused() -> None:
    few = DIGITS.subset(torch.arange(30))
    encoder = build("residual-cnn", few.spec, width=4)
    with pytest.raises(ConfigError, match="not normalised"):
        DeepNeighbours(encoder, few)
    with pytest.raises(ConfigError, match="k=50 neighbours of 30"):
        DeepNeighbours(encoder, few.normalised())
    with pytest.raises(ConfigError, match="level=0"):
        Quarantine(DeepNeighbours(encoder, few.normalised(), k=3), torch.ones(3), level=0)
