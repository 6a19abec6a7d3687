"""Arrays that may be laid out otherwise than (N, L, C) are read as such, and the other way is named."""

import numpy as np
import pytest

from tacita.modalities.builtin import load_builtin
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe


def said(x, **options):
    return "\n".join(describe(as_dataset(x, **options)).lines())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((20, 28, 28), "modality='images'"),
        ((20, 1, 150), "transpose(0, 2, 1)"),
        ((20, 6, 100), "6 steps of 100 channels"),
    ],
)
def test_the_other_layout_is_named(shape, words):
    assert words in said(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("shape", [(20, 100, 6), (20, 50, 62), (20, 4, 4), (20, 2, 6)])
def test_usual_shapes_raise_no_question(shape):
    text = said(np.random.default_rng(0).normal(size=shape))
    assert "modality=" not in text
    assert "transpose" not in text


def test_lengths_say_where_the_steps_are():
    x = np.zeros((20, 28, 28))
    assert "modality=" not in said(x, lengths=np.full(20, 7))


@pytest.mark.parametrize("name", ["basic-motions", "gunpoint"])
def test_built_in_series_are_as_they_seem(name):
    text = "\n".join(describe(load_builtin(name)[0]).lines())
    assert "transpose" not in text
