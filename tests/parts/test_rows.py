"""Samples as flat rows: categories become a column a value, all else stays in its order."""

from __future__ import annotations

import torch
from sklearn.preprocessing import OneHotEncoder

from tacita.data.batch import InputSpec
from tacita.parts.rows import flat_rows


def test_categories_become_the_columns_that_scikit_learn_makes() -> None:
    codes = torch.randint(0, 3, (20, 2), generator=torch.Generator().manual_seed(0))
    numbers = torch.randn(20, 1)
    x = torch.cat([codes[:, :1].float(), numbers, codes[:, 1:].float()], 1)
    spec = InputSpec("tables", (3,), cardinalities=(3, 0, 4))
    peer = OneHotEncoder(categories=[range(3), range(4)], sparse_output=False).fit_transform(codes)
    expected = torch.cat([torch.tensor(peer)[:, :3], numbers, torch.tensor(peer)[:, 3:]], 1)
    assert torch.equal(flat_rows(x, spec), expected.float())
    assert torch.equal(flat_rows(x, spec, one_hot=False), x)


def test_codes_that_are_none_of_the_categories_are_zeros() -> None:
    rows = flat_rows(torch.tensor([[-1.0], [9.0]]), InputSpec("tables", (1,), cardinalities=(3,)))
    assert rows.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_images_series_and_numbers_are_only_flattened() -> None:
    for spec in (
        InputSpec("images", (2, 3, 4)),
        InputSpec("series", (6, 2)),
        InputSpec("tables", (5,), (0,) * 5),
    ):
        x = torch.randn(3, *spec.shape)
        assert torch.equal(flat_rows(x, spec), x.flatten(1))
