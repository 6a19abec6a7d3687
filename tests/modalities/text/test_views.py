"""Views of texts: what is left out and what is hidden, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import default_views
from tacita.errors import ConfigError
from tacita.modalities.text.normalise import Trimmed
from tacita.modalities.text.views import TextViews
from tacita.values import Ragged

HIDDEN, BEGIN = 0, 1
SPEC = InputSpec("text", (64,), vocabulary=1000, hidden_token=HIDDEN, specials=(HIDDEN, BEGIN))


def batch(size: int = 200, length: int = 40) -> Batch:
    """Texts of 1 to `length` tokens, each the next number; the first is special."""
    lengths = torch.arange(size) % length + 1
    tokens = torch.cat([torch.arange(int(n)) + 100 for n in lengths])
    tokens[lengths.cumsum(0) - lengths] = BEGIN
    return Batch.of(Ragged(tokens, lengths, 64))


def rows(seen: Batch) -> list[list[int]]:
    assert isinstance(seen.samples, Ragged)
    pairs = zip(seen.samples.padded, seen.samples.lengths.tolist(), strict=True)
    return [row[:n].tolist() for row, n in pairs]


def test_what_is_left_is_in_order_and_specials_stay() -> None:
    torch.manual_seed(0)
    before = batch()
    views = TextViews(SPEC, drop=0.3)
    after = views(before)
    assert torch.equal(after.index, before.index)
    kept = total = 0
    for old, new in zip(rows(before), rows(after), strict=True):
        places = [old.index(token) for token in new]
        assert places == sorted(set(places))
        assert new[0] == BEGIN
        kept, total = kept + len(new) - 1, total + len(old) - 1
    assert kept / total == pytest.approx(0.7, abs=0.03)
    assert int((after.samples.padded * ~after.samples.mask).sum()) == 0


def test_one_token_stays_whatever_is_dropped() -> None:
    plain = InputSpec("text", (64,), vocabulary=1000)
    before = Batch.of(Ragged(torch.tensor([5, 6, 7, 8]), torch.tensor([3, 1])))
    assert rows(TextViews(plain, drop=1.0)(before)) == [[5], [8]]


def test_a_span_is_one_stretch_of_at_most_its_share() -> None:
    torch.manual_seed(0)
    before = batch()
    after = TextViews(SPEC, span=0.5)(before)
    longest = 0
    for old, new in zip(rows(before), rows(after), strict=True):
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        assert all(new[i] == HIDDEN for i in changed)
        assert new[0] == BEGIN
        assert changed == list(
            range(min(changed, default=0), min(changed, default=0) + len(changed))
        )
        assert len(changed) <= round(0.5 * len(old))
        longest = max(longest, len(changed) / len(old))
    assert longest > 0.4


def test_samples_of_one_length_are_seen_as_well() -> None:
    before = Batch.of(torch.full((8, 20), 7))
    after = default_views(SPEC, "strong")(before)
    assert isinstance(after.samples, Ragged)
    assert int(after.lengths.sum()) < 160
    assert torch.equal(before.x, torch.full((8, 20), 7))


def test_views_differ_and_a_seed_repeats_them() -> None:
    views = default_views(SPEC, "strong")
    torch.manual_seed(3)
    one, two = views(batch()), views(batch())
    torch.manual_seed(3)
    again = views(batch())
    assert torch.equal(one.samples.padded, again.samples.padded)
    assert not torch.equal(one.samples.lengths, two.samples.lengths)


def test_shares_and_spans_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="drop=2"):
        TextViews(SPEC, drop=2)
    plain = InputSpec("text", (64,), vocabulary=1000)
    with pytest.raises(ConfigError, match="no token that stands for hidden"):
        TextViews(plain, span=0.1)
    default_views(plain, "strong")(Batch.of(torch.full((2, 5), 3)))  # it only leaves out


@pytest.mark.parametrize("padded", [False, True])
def test_a_batch_is_no_wider_than_its_longest_text(padded: bool) -> None:
    samples = batch(10).samples
    assert isinstance(samples, Ragged)
    if padded:
        samples = Ragged.of(samples.padded, samples.lengths)
    trimmed = Trimmed(SPEC)(samples)
    assert trimmed.padded.shape == (10, 10)
    assert torch.equal(trimmed.flat, samples.flat)
