"""Tasks for sequence layers that are made up, exact and of any length: what a layer can and cannot do.

Content: `selective_copying`, `induction_heads`, `sparse_recall` and `list_operations` depend on what stands
where.
Memory: `delay` and `adding` need a smooth or a long memory and no choice. Each gives the same samples
for the same generator.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tacita.errors import ConfigError

BLANK = 0
COPY_TOKENS = 5
QUERY = COPY_TOKENS + 1
COPY_VOCABULARY = COPY_TOKENS + 2

OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "MIN": min,
    "MAX": max,
    "MED": lambda values: int(statistics.median(values)),
    "SM": lambda values: sum(values) % 10,
}
"""Of digits to a digit; the median of an even number of digits is rounded down."""
LIST_WORDS = ("", *map(str, range(10)), *(f"[{name}" for name in OPERATIONS), "]")
"""What each token of `list_operations` stands for; the first is padding."""


class Lists(NamedTuple):
    """Shapes: `tokens (B, L)` int64, 0 beyond `lengths (B,)`; `values (B,)` int64, 0 to 9."""

    tokens: Tensor
    lengths: Tensor
    values: Tensor


def selective_copying(
    batch: int, length: int, generator: torch.Generator, *, count: int = 3
) -> tuple[Tensor, Tensor]:
    """Texts `(B, length + count)` and answers `(B, count)`: the data tokens in their order.

    `count` of the tokens 1 to 5 stand at random places among blanks, and `count` queries (6) follow,
    where the answers belong. Places say nothing, so a fixed convolution cannot know what to keep: Gu
    and Dao, 2024, section 4.1. Raises `ConfigError` where the tokens do not fit.

    >>> text, answers = selective_copying(1, 5, torch.Generator().manual_seed(0))
    >>> text[0, :5][text[0, :5] > 0].tolist() == answers[0].tolist()
    True
    """
    _check(batch, length, least=count)
    places = torch.rand(batch, length, generator=generator).argsort(1)[:, :count].sort(1).values
    answers = torch.randint(1, QUERY, (batch, count), generator=generator)
    text = torch.full((batch, length + count), BLANK)
    text.scatter_(1, places, answers)
    text[:, length:] = QUERY
    return text, answers


def induction_heads(
    batch: int, length: int, generator: torch.Generator, *, vocabulary: int = 16
) -> tuple[Tensor, Tensor]:
    """Texts `(B, length)` and answers `(B,)`: the token that followed the mark when it came before.

    Tokens 1 to `vocabulary - 1` are random; the mark, token 0, stands once in the text and at its end.
    Olsson et al., 2022. Raises `ConfigError` below three steps or two tokens.

    >>> text, answers = induction_heads(1, 8, torch.Generator().manual_seed(0))
    >>> place = text[0, :-1].tolist().index(0)
    >>> text[0, place + 1].item() == answers.item(), text[0, -1].item()
    (True, 0)
    """
    _check(batch, length, least=3)
    if vocabulary < 2:
        raise ConfigError(f"vocabulary={vocabulary} leaves no token beside the mark.")
    text = torch.randint(1, vocabulary, (batch, length), generator=generator)
    place = torch.randint(0, length - 2, (batch, 1), generator=generator)
    text.scatter_(1, place, 0)
    text[:, -1] = 0
    return text, text.gather(1, place + 1)[:, 0]


def sparse_recall(
    batch: int,
    length: int,
    generator: torch.Generator,
    *,
    pairs: int = 4,
    keys: int = 16,
    values: int = 8,
) -> tuple[Tensor, Tensor]:
    """Texts `(B, length)` and where to answer `(B, length)` of bool: at a key that has come before.

    Blanks (0), and among them pairs of a key (1 to `keys`) and the value behind it, each of which stands
    twice at random places. At the second place the next token is known from the first, however far
    back that is. Raises `ConfigError` where the pairs do not fit or are more than the keys.

    >>> text, asked = sparse_recall(1, 20, torch.Generator().manual_seed(0), pairs=1)
    >>> (key, value, again, answer) = text[0, text[0] > 0].tolist()
    >>> key == again == text[asked].item(), value == answer
    (True, True)
    """
    _check(batch, length, least=max(2, 4 * pairs))
    if not 1 <= pairs <= keys or values < 2:
        raise ConfigError(
            f"pairs={pairs} must be from 1 to keys={keys}, and values={values} from 2 up."
        )
    key = 1 + torch.rand(batch, keys, generator=generator).argsort(1)[:, :pairs]
    value = torch.randint(1 + keys, 1 + keys + values, (batch, pairs), generator=generator)
    drawn = torch.rand(batch, length // 2, generator=generator).argsort(1)[:, : 2 * pairs]
    places = 2 * drawn.view(batch, pairs, 2).sort(2).values
    text = torch.full((batch, length), BLANK)
    for place in places.unbind(2):
        text.scatter_(1, place, key)
        text.scatter_(1, place + 1, value)
    return text, torch.zeros(batch, length, dtype=torch.bool).scatter(1, places[..., 1], True)


def list_operations(
    batch: int,
    generator: torch.Generator,
    *,
    longest: int = 200,
    shortest: int = 4,
    depth: int = 10,
    arguments: int = 10,
) -> Lists:
    """Nested lists such as `[MAX 2 9 [MIN 4 7 ] 0 ]` and their values: MIN, MAX, MED and SM (sum mod 10).

    shortest, longest: how many tokens there may be; the paper's task has 500 to 2000.
    depth: how deep lists may be nested.
    arguments: the most that an operation has; at least 2.

    Nangia and Bowman, "ListOps", 2018; Tay et al., "Long Range Arena", 2021. Raises `ConfigError` for
    limits that hardly any list keeps to.

    >>> lists = list_operations(1, torch.Generator().manual_seed(3), longest=9, depth=2)
    >>> show_list(lists.tokens[0]), lists.values.item()
    ('[MAX 6 7 1 1 1 7 7 ]', 7)
    """
    _check(batch, longest, least=max(4, shortest))
    if depth < 1 or arguments < 2:
        raise ConfigError(f"depth={depth} and arguments={arguments} must be from 1 and from 2 up.")
    drawn = random.Random(int(torch.randint(2**62, (), generator=generator)))
    tokens = torch.zeros(batch, longest, dtype=torch.int64)
    lengths, values = torch.zeros(2, batch, dtype=torch.int64)
    for row in range(batch):
        for _ in range(10_000):
            words, value = _draw_list(drawn, depth, arguments)
            if shortest <= len(words) <= longest:
                break
        else:
            raise ConfigError(
                f"of 10,000 lists of depth {depth} with up to {arguments} arguments none has "
                f"{shortest} to {longest} tokens.",
                remedy="Allow more depth for long lists, or fewer arguments for short ones.",
            )
        tokens[row, : len(words)] = torch.tensor([LIST_WORDS.index(word) for word in words])
        lengths[row], values[row] = len(words), value
    return Lists(tokens, lengths, values)


def show_list(tokens: Tensor) -> str:
    """The tokens `(L,)` of a list as text."""
    return " ".join(LIST_WORDS[token] for token in tokens.tolist() if token)


def delay(
    batch: int, length: int, generator: torch.Generator, *, steps: int
) -> tuple[Tensor, Tensor]:
    """White noise `(B, length, 1)` and the same, `steps` later; zeros before it starts.

    >>> x, y = delay(1, 5, torch.Generator().manual_seed(0), steps=2)
    >>> torch.equal(y[:, 2:], x[:, :-2]), y[0, :2, 0].tolist()
    (True, [0.0, 0.0])
    """
    _check(batch, length, least=max(1, steps))
    x = torch.randn(batch, length, 1, generator=generator)
    return x, torch.cat([torch.zeros(batch, steps, 1), x[:, : length - steps]], 1)


def adding(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Series `(B, length, 2)` of numbers from 0 to 1 with two of them marked, and their sum `(B,)`.

    One mark stands in each half. Predicting 1 always has a mean squared error of 1/6. Hochreiter and
    Schmidhuber, 1997.

    >>> x, y = adding(1, 10, torch.Generator().manual_seed(0))
    >>> torch.equal((x[..., 0] * x[..., 1]).sum(1), y)
    True
    """
    _check(batch, length, least=2)
    numbers = torch.rand(batch, length, generator=generator)
    half = length // 2
    first = torch.randint(0, half, (batch, 1), generator=generator)
    second = torch.randint(half, length, (batch, 1), generator=generator)
    marks = torch.zeros(batch, length).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([numbers, marks], 2), (numbers * marks).sum(1)


def _draw_list(drawn: random.Random, depth: int, arguments: int) -> tuple[list[str], int]:
    """The words of one list and its value; a quarter of the arguments are lists, as in ListOps."""
    name = drawn.choice(list(OPERATIONS))
    words, values = [f"[{name}"], []
    for _ in range(drawn.randint(2, arguments)):
        if depth > 1 and drawn.random() < 0.25:
            inner, value = _draw_list(drawn, depth - 1, arguments)
            words += inner
        else:
            value = drawn.randrange(10)
            words.append(str(value))
        values.append(value)
    return [*words, "]"], OPERATIONS[name](values)


def _check(batch: int, length: int, least: int) -> None:
    if batch < 1 or length < least:
        raise ConfigError(f"batch={batch} and length={length} must be from 1 and {least} up.")
