"""A target token among the context would give the answer away; a grid too small would give nothing
to predict from; a place that is drawn too seldom would hardly be learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tacita.parts.blocks import draw_blocks, positions_of


def whole(batch: int, tokens: int) -> torch.Tensor:
    return torch.ones(batch, tokens, dtype=torch.bool)


def rectangle(block: torch.Tensor) -> tuple[int, int]:
    """Height and width of the True cells, which fill a rectangle."""
    rows, columns = block.any(1).nonzero().flatten(), block.any(0).nonzero().flatten()
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    assert int(block.sum()) == height * width
    return height, width


@settings(deadline=None, max_examples=100)
@given(
    rows=st.integers(1, 15),
    columns=st.integers(1, 15),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([(0.15, 0.2), (0.01, 0.02), (0.5, 1.0), (1.0, 1.0)]),
    aspect=st.sampled_from([(0.75, 1.5), (0.01, 0.01), (100.0, 100.0)]),
    context=st.sampled_from([(0.85, 1.0), (0.01, 0.05)]),
)
def test_any_grid_of_two_tokens_has_context_and_targets_apart(
    rows, columns, seed, scale, aspect, context
):
    assume(rows * columns > 1)
    torch.manual_seed(seed)
    draw = draw_blocks(
        whole(6, rows * columns),
        (rows, columns),
        target_scale=scale,
        target_aspect=aspect,
        context_scale=context,
    )
    assert not (draw.context & draw.targets.any(1)).any()
    assert draw.context.any(1).all()
    assert draw.targets.any(2).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), targets=st.integers(1, 6))
def test_blocks_are_rectangles_of_one_size_in_a_batch(seed, targets):
    torch.manual_seed(seed)
    draw = draw_blocks(whole(5, 12 * 10), (12, 10), targets=targets)
    assert draw.targets.shape == (5, targets, 120)
    sizes = {rectangle(block.view(12, 10)) for block in draw.targets.flatten(0, 1)}
    assert len(sizes) == 1
    ((height, width),) = sizes
    # A share of 0.15 to 0.2 of 120 tokens, give or take half a column.
    assert 18 - height / 2 <= height * width <= 24 + height / 2


def test_the_context_is_a_block_without_the_targets():
    torch.manual_seed(0)
    draw = draw_blocks(whole(64, 144), (12, 12), context_scale=(0.5, 0.5))
    union = draw.context | draw.targets.any(1)
    for context, every in zip(draw.context.view(-1, 12, 12), union.view(-1, 12, 12), strict=True):
        rows, columns = context.any(1).nonzero().flatten(), context.any(0).nonzero().flatten()
        assert rows[-1] - rows[0] < 9
        assert columns[-1] - columns[0] < 9
        box = every[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all(), "what is missing within the block is a target"
    assert 0.15 < draw.context.float().mean() < 0.25, "half of the grid, and half of that again"


def test_a_batch_has_one_size_and_its_samples_places_of_their_own():
    torch.manual_seed(0)
    first, second = (draw_blocks(whole(32, 196), (14, 14)).targets for _ in range(2))
    assert len(first.flatten(0, 1).unique(dim=0)) > 60
    assert first[0, 0].sum() != second[0, 0].sum() or not torch.equal(first, second)


@pytest.mark.parametrize("grid", [(5, 4), (1, 20)])
def test_every_place_is_as_likely_as_any_other(grid):
    torch.manual_seed(0)
    draw = draw_blocks(
        whole(2000, 20), grid, target_scale=(0.2, 0.2), target_aspect=(1, 1), targets=2
    )
    blocks, counts = draw.targets.flatten(0, 1).unique(dim=0, return_counts=True)
    height, width = rectangle(blocks[0].view(grid))
    assert len(blocks) == (grid[0] - height + 1) * (grid[1] - width + 1)
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_where_nothing_is_left_the_first_block_stands_for_all_and_the_rest_is_context():
    torch.manual_seed(0)
    # Blocks of 2 of 4 tokens: two that differ take the whole row.
    draw = draw_blocks(
        whole(400, 4), (1, 4), target_scale=(0.5, 0.5), context_scale=(1, 1), targets=4
    )
    assert torch.equal(draw.context, ~draw.targets.any(1))
    same = (draw.targets == draw.targets[:, :1]).all(2).all(1)
    # Of the 81 ways to draw four of the three places, 3 are of one place, and 50 have both ends.
    assert abs(same.float().mean() - 53 / 81) < 0.1


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), length=st.integers(1, 40))
def test_spans_of_a_series_lie_within_it_and_scale_with_it(seed, length):
    torch.manual_seed(seed)
    lengths = torch.randint(0, length + 1, (8,))
    valid = torch.arange(length) < lengths[:, None]
    context, targets = draw_blocks(valid, (1, length), target_scale=(0.2, 0.2))
    assert not (context & ~valid).any()
    assert not (targets & ~valid[:, None]).any()
    assert not (context & targets.any(1)).any()
    for n, seen, spans in zip(lengths.tolist(), context, targets, strict=True):
        expected = 0 if n < 2 else max(1, round(np.float32(0.2) * np.float32(n)))
        assert spans.sum(1).tolist() == [expected] * 4
        assert seen.any() == (n > 0)
        for span in spans:
            at = span.nonzero().flatten()
            assert not n > 1 or int(at[-1] - at[0]) + 1 == expected


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 5), tokens=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_positions_are_those_that_were_chosen_in_order(rows, tokens, seed):
    chosen = torch.rand(rows, 2, tokens, generator=torch.Generator().manual_seed(seed)) < 0.4
    index, counts = positions_of(chosen)
    assert index.shape == counts.shape
    assert index.shape[2] == max(1, int(chosen.sum(2).max()))
    for row in range(rows):
        for group in range(2):
            found = index[row, group][counts[row, group]]
            assert torch.equal(found, chosen[row, group].nonzero().flatten())
