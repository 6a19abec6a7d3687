"""What goes wrong with two levels: the phase of the chunks, a look ahead, a state that outlives its chunk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.adapt.per_step import PerStep
from tacita.data.batch import InputSpec
from tacita.encoders.hiss import HiSS
from tacita.encoders.sequence_model import SequenceModel
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.values import Ragged
from tests.helpers import assert_close

SPEC = InputSpec("series", (24, 3))
LEVELS = [("s4d", "s4d"), ("gru", "attention"), ("seqboat", "lru")]


def made(chunk: int = 4, low: str = "s4d", high: str = "s4d", **options: object) -> HiSS:
    torch.manual_seed(0)
    sizes = {"d_low": 8, "d_model": 8, "low_depth": 1, "high_depth": 2}
    return HiSS(SPEC, chunk=chunk, low=low, high=high, **{**sizes, **options}).double().eval()  # type: ignore[arg-type]


def drawn(count: int = 2, length: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, length, 3, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("low", "high"), LEVELS)
def test_a_token_knows_the_steps_up_to_the_end_of_its_chunk_and_no_later_one(
    low: str, high: str
) -> None:
    encoder, x = made(low=low, high=high), drawn()
    before = encoder(x).tokens
    for step in (0, 7, 8, 23):
        other = x.clone()
        other[:, step] += 1.0
        change = (encoder(other).tokens - before).abs().amax((0, 2))
        assert (change[: step // 4] < 1e-12).all()
        assert change[step // 4] > 1e-9
    assert encoder.causal


def test_a_summary_is_its_own_chunks_and_is_the_last_step_of_the_lower_level() -> None:
    encoder, x = made(differences=False), drawn(1)
    found = encoder.summaries(x)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = x.view(1, 6, 4, 3)[:, order].reshape(1, 24, 3)
    assert_close(encoder.summaries(moved), found[:, order])
    alone = encoder.low(encoder.enter(x[:, 8:12]))[:, -1]
    assert_close(encoder.leave(encoder.low_norm(alone)), found[:, 2])


def test_differences_are_none_at_the_first_step() -> None:
    encoder, x = made(), drawn(1)
    inputs = encoder._inputs(x)
    assert_close(inputs[:, :, :3], x)
    assert not inputs[:, 0, 3:].any()
    assert_close(inputs[:, 5, 3:], x[:, 5] - x[:, 4])


@settings(deadline=None, max_examples=8)
@given(chunk=st.integers(1, 24), levels=st.sampled_from([("s4d", "gru"), ("lru", "attention")]))
def test_one_sample_at_a_time_gives_the_tokens_of_the_whole(
    chunk: int, levels: tuple[str, str]
) -> None:
    encoder, x = made(chunk, *levels, high_depth=1), drawn()
    tokens, state = encoder(x).tokens, encoder.initial_state(2)
    with torch.no_grad():
        for step in range(24):
            token, state = encoder.step(x[:, step], state)
            whole = (step + 1) // chunk
            expected = tokens[:, whole - 1] if whole else torch.zeros_like(token)
            assert_close(token, expected)


def test_a_chunk_of_one_step_is_the_flat_model_and_of_all_steps_one_token() -> None:
    flat = SequenceModel(SPEC, layer="s4d", d_model=8, depth=2).double().eval()
    encoder = made(1, d_low=8, differences=False)
    encoder.high, encoder.norm = flat.stack, flat.norm  # type: ignore[assignment]
    encoder.enter = flat.enter  # type: ignore[assignment]

    class Same(torch.nn.Module):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            return x

    encoder.low, encoder.low_norm, encoder.leave = Same(), Same(), Same()  # type: ignore[assignment]
    assert_close(encoder(drawn()).tokens, flat(drawn()).tokens)
    assert made(24)(drawn()).tokens.shape == (2, 1, 8)


def test_series_that_end_within_a_chunk_are_as_if_cut_there() -> None:
    encoder, x = made(), drawn(3)
    lengths = torch.tensor([24, 10, 3])
    padded = x.clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = torch.nan
    found = encoder(Ragged.of(padded, lengths))
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :length])
        count = -(-length // 4)
        assert_close(found.tokens[row, :count], alone.tokens[0])
        assert_close(found.pooled[row], alone.pooled[0])
        assert not found.tokens[row, count:].any()


def test_every_step_holds_the_token_of_its_chunk_and_learns_what_only_chunks_know() -> None:
    x = drawn(6, 20).float()
    y = torch.full((6, 20), torch.nan)
    y[:, 3::4] = x[:, :, 0].view(6, 5, 4).mean(2)  # one number a chunk, at its end
    data = as_dataset(x.numpy(), y.numpy(), task="sequence-regression").normalised()
    sizes = {"d_low": 8, "d_model": 8, "low_depth": 1, "high_depth": 1}
    encoder = HiSS(data.spec, chunk=4, **sizes)  # type: ignore[arg-type]
    held, tokens = encoder.per_step(data.take(torch.arange(6))), encoder(x).tokens
    assert held.shape == (6, 20, 8)
    assert torch.equal(held[:, 4], held[:, 7])
    assert tokens.shape == (6, 5, 8)
    learner = PerStep(encoder, engine={"steps": 60, "learning_rate": 2e-2}).fit(data)
    assert learner.score(data) > 0.5


def test_chunks_longer_than_the_series_and_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="chunk=25 does not fit series of 24 steps"):
        HiSS(SPEC, chunk=25)
    with pytest.raises(ConfigError, match="must be positive"):
        HiSS(SPEC, low_depth=0)
    with pytest.raises(ConfigError, match="s4d"):
        HiSS(SPEC, low="s4dd")
