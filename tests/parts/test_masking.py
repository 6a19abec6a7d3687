"""A wrong count, a padded token drawn, or a token put back to another place would go unnoticed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.parts.masking import chain, gather_tokens, hide, kept, markov_mask, scatter_tokens

SHAPES = {
    "batch": st.integers(1, 5),
    "length": st.integers(1, 12),
    "ratio": st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]),
    "seed": st.integers(0, 99),
}


@settings(deadline=None, max_examples=60)
@given(**SHAPES)
def test_the_count_is_exact_and_each_token_is_either_seen_or_hidden(batch, length, ratio, seed):
    noise = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed))
    visible, valid, hidden = hide(noise, ratio)
    count = max(1, int(length * (1 - ratio) + 1e-6))
    assert visible.shape == (batch, count)
    assert valid.all()
    for row in range(batch):
        seen = set(visible[row].tolist())
        assert len(seen) == count
        assert seen | set(hidden[row].nonzero().flatten().tolist()) == set(range(length))
        assert int(hidden[row].sum()) == length - count


def test_ties_in_the_noise_do_not_change_the_count():
    _, _, hidden = hide(torch.zeros(3, 8), 0.75)
    assert hidden.sum(1).tolist() == [6, 6, 6]


def test_the_smallest_noise_stays_visible():
    visible, _, hidden = hide(torch.tensor([[0.9, 0.1, 0.5, 0.2]]), 0.5)
    assert visible.tolist() == [[1, 3]]
    assert hidden.tolist() == [[True, False, True, False]]


def test_every_token_is_hidden_equally_often():
    noise = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0))
    share = hide(noise, 0.75).hidden.float().mean(0)
    assert (share - 0.75).abs().max() < 0.03  # 4 standard errors


@settings(deadline=None, max_examples=60)
@given(**SHAPES)
def test_padded_tokens_are_neither_seen_nor_predicted(batch, length, ratio, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, length + 1, (batch,), generator=generator)
    mask = torch.arange(length) < lengths[:, None]
    visible, valid, hidden = hide(torch.rand(batch, length, generator=generator), ratio, mask)
    assert not hidden[~mask].any()
    for row, n in enumerate(lengths.tolist()):
        seen = visible[row][valid[row]].tolist()
        assert len(seen) == (int(kept(n, ratio)) if n else 0)
        assert all(position < n for position in seen)
        assert sorted(seen + hidden[row].nonzero().flatten().tolist()) == list(range(n))


def test_tokens_taken_out_and_put_back_are_where_they_were():
    tokens = torch.randn(3, 7, 5)
    order = torch.rand(3, 7).argsort(1)
    back = scatter_tokens(gather_tokens(tokens, order), order, torch.zeros(5), 7)
    assert torch.equal(back, tokens)


def test_places_left_empty_or_not_valid_get_the_fill():
    tokens = torch.ones(1, 2, 1)
    fill = torch.tensor([9.0])
    index = torch.tensor([[2, 0]])
    assert scatter_tokens(tokens, index, fill, 4).flatten().tolist() == [1, 9, 1, 9]
    valid = torch.tensor([[True, False]])
    assert scatter_tokens(tokens, index, fill, 4, valid).flatten().tolist() == [9, 9, 1, 9]


@pytest.mark.parametrize("ratio, mean_run", [(0.15, 3), (0.4, 5), (0.5, 1), (0.05, 2.5)])
def test_a_markov_mask_hides_its_share_in_runs_of_its_length(ratio, mean_run):
    torch.manual_seed(0)
    hidden = markov_mask(2000, 512, ratio=ratio, mean_run=mean_run)
    assert hidden.float().mean().item() == pytest.approx(ratio, abs=0.01)
    # A chain is stationary: each step is hidden as often as any other.
    assert (hidden.float().mean(0) - ratio).abs().max() < 5 * (ratio / 2000) ** 0.5
    inside = functional.pad(hidden, (1, 1)).int().diff(dim=1)
    begin, end = (inside == 1).nonzero(), (inside == -1).nonzero()
    whole = (begin[:, 1] > 0) & (end[:, 1] < 512)  # runs that the borders do not cut
    runs = (end - begin)[whole, 1].float()
    assert runs.mean().item() == pytest.approx(mean_run, abs=0.1)
    # Geometric: as many of one step as there are at the rate of leaving.
    assert (runs == 1).float().mean().item() == pytest.approx(1 / mean_run, abs=0.02)


def test_a_markov_mask_is_that_of_a_chain_stepped_through():
    torch.manual_seed(0)
    hidden = markov_mask(20_000, 6, ratio=0.3, mean_run=2)
    enter, leave = chain(0.3, 2)
    for step in range(5):
        before, after = hidden[:, step], hidden[:, step + 1]
        assert after[before].float().mean().item() == pytest.approx(1 - leave, abs=0.02)
        assert after[~before].float().mean().item() == pytest.approx(enter, abs=0.02)
        third = hidden[:, max(step - 1, 0)]  # what came before is forgotten
        assert after[before & third].float().mean().item() == pytest.approx(1 - leave, abs=0.03)


def test_rows_of_a_markov_mask_are_independent():
    torch.manual_seed(0)
    hidden = markov_mask(4000, 200, ratio=0.2, mean_run=3).float()
    left, right = hidden[0::2].flatten(), hidden[1::2].flatten()
    assert torch.corrcoef(torch.stack([left, right]))[0, 1].abs() < 0.01


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_markov_masks_and_ratios_of_nothing(length):
    torch.manual_seed(0)
    assert not markov_mask(100, length, ratio=0.0, mean_run=3).any()
    assert markov_mask(5000, length, ratio=0.5, mean_run=1).float().sum(0).tolist() == (
        pytest.approx([2500] * length, abs=150)
    )


@pytest.mark.parametrize("ratio, mean_run", [(0.6, 1), (-0.1, 3), (1.0, 3), (0.1, 0.5)])
def test_a_share_that_no_chain_can_hide_is_refused(ratio, mean_run):
    with pytest.raises(ConfigError, match=r"mask_ratio|mean_run"):
        markov_mask(2, 10, ratio=ratio, mean_run=mean_run)
