"""The text Transformer: a direct derivation of one block, padding, and texts of any length."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tacita.data.batch import Batch, InputSpec
from tacita.encoders.text_transformer import TextTransformer
from tacita.errors import ConfigError, DataError
from tacita.values import Ragged
from tests.helpers import assert_close

SPEC = InputSpec("text", (20,), vocabulary=11)


def make(**options: float) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(SPEC, **{"dim": 8, "depth": 1, "heads": 2, **options})  # type: ignore[arg-type]


def texts(*lengths: int, seed: int = 1) -> Ragged:
    generator = torch.Generator().manual_seed(seed)
    return Ragged(
        torch.randint(11, (sum(lengths),), generator=generator), torch.tensor(lengths), 20
    )


def test_tokens_are_those_of_a_direct_derivation() -> None:
    encoder = make().double().eval()
    x = texts(5).flat[None]
    block, last = encoder.transformer.layers[0], encoder.transformer.norm
    position = torch.arange(5, dtype=torch.float64)
    angles = [position / 10_000 ** (k / 4) for k in range(4)]
    sines = torch.stack([*(a.sin() for a in angles), *(a.cos() for a in angles)], 1)
    h = encoder.enter_norm(encoder.enter.weight[x[0]]) + sines
    q, k, v = block.attention.query_key_value(block.attention_norm(h)).split(8, 1)
    mixed = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = (q[:, head] @ k[:, head].T / 2).softmax(1)
        mixed.append(weights @ v[:, head])
    h = h + block.attention.out(torch.cat(mixed, 1))
    inner = functional.gelu(block.mlp[0](block.mlp_norm(h)))
    expected = last(h + block.mlp[2](inner))
    found = encoder(x)
    torch.testing.assert_close(found.tokens[0], expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.pooled[0], expected.mean(0), rtol=1e-6, atol=1e-7)


def test_padding_and_what_stands_in_it_do_not_matter() -> None:
    encoder = make(depth=2).eval()
    samples = texts(3, 20, 1)
    together = encoder(samples)
    for i, length in enumerate(samples.lengths.tolist()):
        alone = encoder(samples.padded[i : i + 1, :length])
        assert_close(together.tokens[i, :length], alone.tokens[0])
        assert_close(together.pooled[i], alone.pooled[0])
        assert int(together.tokens[i, length:].abs().sum()) == 0
    rubbish = Ragged.of(samples.padded.masked_fill(~samples.mask, 10), samples.lengths)
    assert torch.equal(encoder(rubbish).pooled, together.pooled)
    wider = encoder(samples.widened(33))
    assert_close(wider.pooled, together.pooled)


def test_a_text_longer_than_those_it_was_made_for_is_read() -> None:
    encoder = make().eval()
    long = torch.randint(11, (2, 50))
    assert encoder(long).tokens.shape == (2, 50, 8)


def test_dropout_is_for_training_only() -> None:
    encoder = make(dropout=0.5)
    x = texts(9, 9).padded
    assert not torch.equal(encoder(x).pooled, encoder(x).pooled)
    encoder.eval()
    assert torch.equal(encoder(x).pooled, encoder(x).pooled)


def test_the_table_holds_a_vector_for_each_token() -> None:
    encoder = make()
    assert encoder.table.shape == (11, 8)
    assert not encoder.causal


def test_what_is_no_token_is_refused() -> None:
    encoder = make()
    with pytest.raises(DataError, match="vocabulary has 11"):
        encoder(torch.tensor([[11]]))
    with pytest.raises(DataError, match="whole numbers"):
        encoder(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="vocabulary of the text is not known"):
        TextTransformer(InputSpec("text", (20,)))
    with pytest.raises(ConfigError, match="dropout=1"):
        make(dropout=1.0)
    with pytest.raises(ConfigError, match="not series"):
        TextTransformer(InputSpec("series", (20, 3)))


def test_every_parameter_gets_a_gradient() -> None:
    encoder = make()
    pooled = encoder(Batch.of(texts(5, 9, 20))).pooled
    (pooled * torch.linspace(-1, 1, 8)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name
