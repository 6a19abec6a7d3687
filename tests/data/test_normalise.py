from __future__ import annotations

import torch

from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.data.normalise import Standardiser
from tests.helpers import assert_close, samples_of


def test_volumes_have_one_mean_and_deviation_a_channel() -> None:
    x = torch.randn(5, 2, 3, 4, 6) * torch.tensor([2.0, 9.0]).view(2, 1, 1, 1) + 7
    data = Dataset.of("volumes", x, torch.zeros(5, dtype=torch.int64)).normalised()
    assert data.spec == InputSpec("volumes", (2, 3, 4, 6))
    out = data.take(torch.arange(5)).x
    assert_close(out.mean((0, 2, 3, 4)), torch.zeros(2))
    assert_close(out.std((0, 2, 3, 4), correction=0), torch.ones(2))


def test_the_columns_of_a_channel_of_many_samples_a_row_share_their_statistics() -> None:
    x = torch.randn(4, 10, 5) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) + torch.arange(5)
    lengths = torch.tensor([10, 3, 7, 1])
    spec = InputSpec("series", (10, 5), rates=(3, 2))
    normaliser = Standardiser(spec, axis=2).fit(samples_of(x, lengths))
    for columns in (slice(0, 3), slice(3, 5)):
        rows = [series[:n, columns].flatten() for series, n in zip(x, lengths, strict=True)]
        values = torch.cat(rows).double()
        for value in normaliser.mean[columns]:
            assert_close(value, values.mean())
        for value in normaliser.std[columns]:
            assert_close(value, values.std(correction=0))
