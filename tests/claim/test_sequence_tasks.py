"""A task whose answer is wrong, or lies in a place that gives it away, would rank layers by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.claim import sequence_tasks as tasks
from tacita.errors import ConfigError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evaluated(text: str) -> int:
    """A list's value by Python's own evaluation of it as nested calls."""
    known = {
        "MIN": min,
        "MAX": max,
        "MED": lambda values: int(np.median(values)),
        "SM": lambda values: sum(values) % 10,
    }
    words = text.split()
    code = "".join(f"{w[1:]}([" if w[0] == "[" else "])," if w == "]" else f"{w}," for w in words)
    return eval(code, known)[0]  # the text is our own


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), depth=st.integers(1, 5), arguments=st.integers(2, 5))
def test_lists_have_the_value_that_python_gives_them(seed: int, depth: int, arguments: int) -> None:
    limits = {"longest": 60, "depth": depth, "arguments": arguments}
    lists = tasks.list_operations(10, seeded(seed), **limits)
    for tokens, length, value in zip(*lists, strict=True):
        text = tasks.show_list(tokens)
        assert len(text.split()) == length
        assert (tokens[length:] == 0).all()
        assert evaluated(text) == value
        opened = np.cumsum([w.startswith("[") - (w == "]") for w in text.split()])
        assert opened.max() <= depth
        assert opened[-1] == 0


def test_lists_are_as_long_as_asked_and_use_every_operation() -> None:
    lists = tasks.list_operations(200, seeded(), shortest=30, longest=50, depth=4, arguments=6)
    assert (lists.lengths >= 30).all()
    assert (lists.lengths <= 50).all()
    assert set(lists.tokens.unique().tolist()) == set(range(len(tasks.LIST_WORDS)))
    assert set(lists.values.unique().tolist()) == set(range(10))


def test_copied_tokens_stand_anywhere_in_their_order() -> None:
    text, answers = tasks.selective_copying(4000, 8, seeded(), count=2)
    for row, answer in zip(text[:50], answers[:50], strict=True):
        assert row[:8][row[:8] > 0].tolist() == answer.tolist()
        assert row[8:].tolist() == [tasks.QUERY] * 2
    shares = (text[:, :8] > 0).double().mean(0)
    assert ((shares - 2 / 8).abs() < 4 * (0.25 * 0.75 / 4000) ** 0.5).all()
    counts = answers.flatten().bincount(minlength=6)
    assert counts[0] == 0
    assert ((counts[1:] / 8000 - 0.2).abs() < 4 * (0.2 * 0.8 / 8000) ** 0.5).all()


def test_what_followed_the_mark_follows_it_again() -> None:
    text, answers = tasks.induction_heads(2000, 9, seeded(), vocabulary=5)
    marks = (text == 0).nonzero()[:, 1].view(2000, 2)
    assert (marks[:, 1] == 8).all()
    assert torch.equal(text.gather(1, marks[:, :1] + 1)[:, 0], answers)
    assert set(marks[:, 0].tolist()) == set(range(7))
    assert set(answers.tolist()) == {1, 2, 3, 4}


def test_what_followed_a_key_follows_it_again() -> None:
    text, asked = tasks.sparse_recall(500, 40, seeded(), pairs=3, keys=5, values=4)
    assert (asked.sum(1) == 3).all()
    assert ((text > 0).sum(1) == 12).all()
    apart = []
    for row, where in zip(text, asked, strict=True):
        for place in where.nonzero()[:, 0].tolist():
            (first,) = (row[:place] == row[place]).nonzero()[:, 0].tolist()
            assert 1 <= row[place] <= 5 < row[place + 1] <= 9
            assert row[first + 1] == row[place + 1]
            apart.append(place - first)
    assert min(apart) == 2
    assert max(apart) > 30


def test_a_constant_has_a_sixth_of_an_error_in_adding() -> None:
    x, y = tasks.adding(20_000, 11, seeded())
    assert ((y - 1) ** 2).mean().item() == pytest.approx(1 / 6, rel=0.05)
    marks = x[..., 1].nonzero()[:, 1].view(-1, 2)
    assert set(marks[:, 0].tolist()) == set(range(5))
    assert set(marks[:, 1].tolist()) == set(range(5, 11))


def test_a_delay_is_a_delay() -> None:
    x, y = tasks.delay(3, 12, seeded(), steps=5)
    assert torch.equal(y[:, 5:], x[:, :7])
    assert (y[:, :5] == 0).all()


def test_a_seed_gives_the_same_samples_and_goes_on_to_others() -> None:
    makers = [
        lambda g: tasks.selective_copying(4, 20, g)[0],
        lambda g: tasks.induction_heads(4, 20, g)[0],
        lambda g: tasks.sparse_recall(4, 20, g, pairs=2)[0],
        lambda g: tasks.list_operations(4, g, longest=30, depth=3, arguments=4).tokens,
        lambda g: tasks.delay(4, 20, g, steps=3)[0],
        lambda g: tasks.adding(4, 20, g)[0],
    ]
    for make in makers:
        generator = seeded()
        first, then = make(generator), make(generator)
        assert torch.equal(make(seeded()), first)
        assert not torch.equal(then, first)


def test_limits_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="none has 50 to 60"):
        tasks.list_operations(1, seeded(), shortest=50, longest=60, depth=1)
    with pytest.raises(ConfigError, match="depth=0"):
        tasks.list_operations(1, seeded(), depth=0)
    with pytest.raises(ConfigError, match="length=2"):
        tasks.selective_copying(1, 2, seeded())
    with pytest.raises(ConfigError, match="length=9"):
        tasks.sparse_recall(1, 9, seeded(), pairs=3)
    with pytest.raises(ConfigError, match="pairs=3 must be"):
        tasks.sparse_recall(1, 40, seeded(), pairs=3, keys=2)
    with pytest.raises(ConfigError, match="vocabulary=1"):
        tasks.induction_heads(1, 9, seeded(), vocabulary=1)
