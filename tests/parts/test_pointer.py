"""Steps at once against one by one and against the equation, and the search for orders against all orders."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from tacita.parts.pointer import (
    Memories,
    PointerDecoder,
    point_out,
    sample_orders,
    shuffled,
    start_lstm,
    valid_scores,
)
from tests.helpers import assert_close

DIM = 5
KINDS = [(0, False), (1, False), (0, True), (1, True)]


def decoder(glimpses: int = 1, ends: bool = False) -> PointerDecoder:
    torch.manual_seed(0)
    made = PointerDecoder(DIM, glimpses=glimpses, ends=ends).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= 3.0  # probabilities that are nearly even would hide a mistake
    return made


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def log_p_of(made: PointerDecoder, memories: Memories, pooled: Tensor, picks: Tensor) -> Tensor:
    return made(memories, pooled, picks).gather(2, picks[:, :, None])[:, :, 0].sum(1)


@pytest.mark.parametrize("glimpses, ends", KINDS)
def test_all_steps_at_once_are_one_after_another(glimpses: int, ends: bool) -> None:
    made = decoder(glimpses, ends)
    tokens, pooled = normal(2, 4, DIM), normal(2, DIM)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    picks = torch.tensor([[2, 0, 3], [1, 1, 0]])
    memories = made.read(tokens, mask)
    together = made(memories, pooled, picks)
    state, last, steps = made.start(pooled), None, []
    for step in range(3):
        log_p, state = made.step(memories, state, last)
        steps.append(log_p)
        last = picks[:, step]
    assert_close(torch.stack(steps, 1), together)
    assert_close(together.exp().sum(2), torch.ones(2, 3, dtype=torch.float64))
    assert (together.exp()[1, :, 3] == 0).all()


@pytest.mark.parametrize("glimpses", [0, 1])
def test_the_first_pointer_is_that_of_the_equations(glimpses: int) -> None:
    made = decoder(glimpses)
    tokens, pooled = normal(1, 3, DIM), normal(1, DIM)
    output, cell = made.begin(pooled)[0].chunk(2)
    lstm = made.lstm
    gates = lstm.weight_ih_l0 @ made.first + lstm.bias_ih_l0
    gates = gates + lstm.weight_hh_l0 @ output + lstm.bias_hh_l0
    i, f, g, o = gates.chunk(4)
    s = torch.sigmoid(o) * torch.tanh(torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g))
    if made.glimpse is not None:
        look = made.glimpse
        scores = [
            look.score(torch.tanh(look.key.weight @ m + look.query(s))).exp() for m in tokens[0]
        ]
        s = torch.cat([s, sum(e * m for e, m in zip(scores, tokens[0], strict=True)) / sum(scores)])
    point = made.pointer
    u = [point.score(torch.tanh(point.key.weight @ m + point.query(s))) for m in tokens[0]]
    expected = torch.cat(u).log_softmax(0)
    assert_close(made(made.read(tokens), pooled, torch.zeros(1, 1).long())[0, 0], expected)


@pytest.mark.parametrize("glimpses, ends", KINDS)
def test_elements_in_another_order_are_pointed_at_where_they_are(glimpses: int, ends: bool) -> None:
    made = decoder(glimpses, ends)
    tokens, pooled, picks = normal(1, 4, DIM), normal(1, DIM), torch.tensor([[3, 0, 2]])
    expected = made(made.read(tokens), pooled, picks)
    order = torch.tensor([2, 3, 1, 0])
    found = made(made.read(tokens[:, order]), pooled, order.argsort()[picks])
    assert_close(found[:, :, :4], expected[:, :, order])
    assert_close(found[:, :, 4:], expected[:, :, 4:])


def test_a_batch_of_unequal_sets_is_each_set_alone() -> None:
    made = decoder(1, True)
    tokens, pooled, picks = normal(2, 4, DIM), normal(2, DIM), torch.tensor([[1, 0], [3, 2]])
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    rubbish = tokens.clone()
    rubbish[0, 2:] = 1e6
    found = made(made.read(rubbish, mask), pooled, picks)
    alone = made(made.read(tokens[:1, :2]), pooled[:1], picks[:1])
    assert_close(found[:1, :, [0, 1, 4]], alone)


@pytest.mark.parametrize("ends", [False, True])
def test_orders_are_drawn_by_the_models_own_probabilities(ends: bool) -> None:
    """The law is written out over all orders, and what is known of each draw follows from it."""
    made = decoder(1, ends)
    tokens, pooled = normal(1, 4, DIM), normal(1, DIM)
    end, count = [4] * ends, 4000
    chosen = torch.tensor([[True, False, True, True, *([False] * ends)]])
    memories = made.read(tokens)
    law, ratio = {}, {}
    for order in permutations([0, 2, 3]):
        picks = torch.tensor([[*order, *end]])
        log_p = made(memories, pooled, picks)[0].detach()
        left = [list(order[step:]) for step in range(3)] + [end] * ends
        shares = [log_p[step, at].logsumexp(0) for step, at in enumerate(left)]
        ratio[order] = float(sum(shares))
        law[order] = float((log_p.gather(1, picks.T).sum() - ratio[order]).exp())
    assert sum(law.values()) == pytest.approx(1, abs=1e-6)
    wide = Memories(*(part.expand(count, *part.shape[1:]) for part in memories))
    torch.manual_seed(0)
    drawn = sample_orders(made, wide, pooled.expand(count, -1), chosen.expand(count, -1), 3 + ends)
    assert ends == bool((drawn.picks[:, 3:] == 4).all() and drawn.picks.shape[1] == 4)
    orders = [tuple(row[:3]) for row in drawn.picks.tolist()]
    for order, probability in law.items():
        share = orders.count(order) / count
        assert abs(share - probability) < 4 * (probability * (1 - probability) / count) ** 0.5
    for row in (0, 1, 2):
        assert drawn.share[row].sum().item() == pytest.approx(ratio[orders[row]], abs=1e-5)


def test_what_sampled_orders_say_of_a_set_is_what_all_orders_say() -> None:
    made = decoder()
    tokens, pooled, count = normal(1, 4, DIM), normal(1, DIM), 2000
    memories = made.read(tokens)
    every = torch.tensor(list(permutations(range(4))))
    wide = Memories(*(part.expand(len(every), *part.shape[1:]) for part in memories))
    each = log_p_of(made, wide, pooled.expand(len(every), -1), every).detach()
    wide = Memories(*(part.expand(count, *part.shape[1:]) for part in memories))
    chosen = torch.ones(count, 4, dtype=torch.bool)
    torch.manual_seed(0)
    found = sample_orders(made, wide, pooled.expand(count, -1), chosen, 4)
    weights = found.share.sum(1).exp()
    error = float(weights.std()) / count**0.5
    assert abs(float(weights.mean() - each.exp().sum())) < 4 * error
    best = log_p_of(made, wide, pooled.expand(count, -1), found.picks).detach().max()
    assert best.item() == pytest.approx(each.max().item(), abs=1e-5)
    assert each.max() > each.min() + 0.1


def test_no_gradient_goes_through_the_search() -> None:
    made = decoder()
    memories = made.read(normal(2, 3, DIM).requires_grad_())
    found = sample_orders(made, memories, normal(2, DIM), torch.ones(2, 3, dtype=torch.bool), 3)
    assert not found.share.requires_grad
    assert not found.picks.is_floating_point()


def test_shuffled_orders_are_even_and_leave_what_is_behind() -> None:
    torch.manual_seed(0)
    picks = torch.tensor([[5, 6, 7, 9, 9]]).expand(6000, -1)
    counts = torch.full((6000,), 3)
    found = shuffled(picks, counts)
    assert (found[:, 3:] == 9).all()
    orders = [tuple(row[:3]) for row in found.tolist()]
    for order in permutations([5, 6, 7]):
        assert abs(orders.count(order) / 6000 - 1 / 6) < 4 * (5 / 36 / 6000) ** 0.5


def test_no_element_is_written_twice_unless_it_may_be() -> None:
    made = decoder(0, True)
    tokens, pooled = normal(30, 4, DIM), normal(30, DIM)
    mask = torch.arange(4) < torch.arange(30)[:, None] % 4 + 1
    picks = point_out(made, made.read(tokens, mask), pooled, 6)
    for row, valid in zip(picks.tolist(), mask.sum(1).tolist(), strict=True):
        written = [place for place in row if place < 4]
        assert len(set(written)) == len(written)
        assert all(place < valid for place in written)
    free = point_out(made, made.read(tokens, mask), pooled, 6, repeats=True)
    assert any(len(set(row) - {4}) < len([p for p in row if p < 4]) for row in free.tolist())


def test_the_gradient_is_that_of_finite_differences() -> None:
    made = decoder(1, True)
    picks = torch.tensor([[1, 0]])
    tokens, pooled = normal(1, 2, DIM).requires_grad_(), normal(1, DIM).requires_grad_()

    def value(tokens: Tensor, pooled: Tensor) -> Tensor:
        return log_p_of(made, made.read(tokens), pooled, picks)

    assert torch.autograd.gradcheck(value, (tokens, pooled))


def test_scores_of_nothing_are_left_as_they_are() -> None:
    scores = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    mask = torch.tensor([[False, True], [False, False]])
    assert valid_scores(scores, mask).softmax(1)[0].tolist() == [0.0, 1.0]
    assert torch.equal(valid_scores(scores, mask)[1], scores[1])


def test_an_lstm_starts_by_remembering() -> None:
    lstm = torch.nn.LSTMCell(3, 2)
    start_lstm(lstm)
    assert (lstm.bias_ih + lstm.bias_hh).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert lstm.weight_hh.abs().max() <= 0.08
