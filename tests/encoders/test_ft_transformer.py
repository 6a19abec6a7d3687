"""Registers must be seen by all, stand for no column, and never shift a column to its neighbour."""

from __future__ import annotations

import pytest
import torch

from tacita.adapt.linear_probe import LinearProbe
from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.encoders.flattened import Flattened
from tacita.encoders.ft_transformer import FTTransformer
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tests.helpers import assert_close

MIXED = InputSpec("tables", (4,), cardinalities=(3, 0, 2, 0))
NUMBERS = InputSpec("tables", (3,), cardinalities=(0, 0, 0))


def make(spec: InputSpec = MIXED, **options: object) -> FTTransformer:
    torch.manual_seed(0)
    return FTTransformer(spec, dim=8, depth=2, heads=2, **options)


@pytest.mark.parametrize("registers", [0, 1, 3])
def test_there_is_one_token_a_column_whatever_the_registers(registers):
    encoding = make(registers=registers)(torch.zeros(5, 4))
    assert encoding.tokens.shape == (5, 4, 8)
    assert encoding.pooled.shape == (5, 8)


@pytest.mark.parametrize("registers", [1, 3])
def test_registers_are_tokens_before_the_columns(registers):
    encoder = make(registers=registers)
    tokens = encoder.embed(torch.tensor([[2.0, 0.5, 1.0, -3.0]]))
    before = torch.cat([encoder.registers[None], tokens], 1)
    assert_close(encoder.blocks(tokens), encoder.transformer(before)[:, registers:])


def test_registers_are_seen_even_where_one_column_is_left():
    encoder = make(registers=2)
    tokens = encoder.embed(torch.tensor([[2.0, 0.5, 1.0, -3.0]]))
    mask = torch.tensor([[False, True, False, False]])
    before = encoder.blocks(tokens, mask)[:, 1]
    with torch.no_grad():
        encoder.registers[1] *= -1.0
    assert (encoder.blocks(tokens, mask)[:, 1] - before).abs().max() > 1e-3


def test_without_registers_there_is_nothing_to_train_for_them():
    names = dict(make(registers=0).named_parameters())
    assert "registers" not in names
    assert "registers" in dict(make().named_parameters())


def test_a_column_is_told_by_its_vectors_alone():
    encoder = make(NUMBERS)
    x, order = torch.randn(5, 3), torch.tensor([2, 0, 1])
    tokens = encoder.embed(x)
    assert_close(encoder.blocks(tokens[:, order]), encoder.blocks(tokens)[:, order])
    assert (encoder(x).pooled - encoder(x[:, order]).pooled).abs().max() > 1e-2


def test_every_column_reaches_the_token_of_every_other():
    encoder = make(NUMBERS)
    x = torch.randn(1, 3, requires_grad=True)
    for column in range(3):
        (gradient,) = torch.autograd.grad(encoder(x).tokens[0, column].square().sum(), x)
        assert (gradient != 0).all()


@pytest.mark.parametrize("code", [-1.0, 3.0, 1e9, float("nan")])
def test_unknown_categories_share_a_row_that_says_nothing(code):
    encoder = make()
    row = torch.tensor([[code, 0.5, 1.0, -3.0]])
    assert torch.equal(encoder.embed(row)[0, 0], encoder.column[0])
    assert encoder(row).pooled.isfinite().all()


@pytest.mark.parametrize("options", [{"registers": -1}, {"registers": 300}])
def test_a_number_of_registers_that_makes_no_sense_is_refused(options):
    with pytest.raises(ConfigError, match="registers="):
        make(**options)


@pytest.mark.parametrize("dim", [0, -4])
def test_a_width_that_makes_no_sense_is_refused(dim):
    with pytest.raises(ConfigError, match="dim="):
        FTTransformer(NUMBERS, dim=dim)


def test_flattened_features_are_the_tokens_end_to_end():
    encoder = make()
    x = torch.randn(5, 4)
    flat = Flattened(encoder)
    assert flat.dim == 32
    assert torch.equal(flat(x).pooled, encoder(x).tokens.reshape(5, 32))
    assert flat(x).tokens.shape == (5, 1, 32)


def test_a_probe_reads_flattened_tokens():
    data = load("wine").normalised()
    flat = Flattened(build("ft-transformer", data.spec, dim=8, heads=2))
    probe = LinearProbe(flat).fit(data)
    assert probe.score(data) > 0.95
    assert probe.embed(data).shape == (178, 13 * 8)


@pytest.mark.parametrize(
    "slug, spec",
    [
        ("residual-cnn", InputSpec("images", (1, 8, 8))),
        ("series-transformer", InputSpec("series", (16, 2))),
    ],
)
def test_encoders_without_a_fixed_number_of_tokens_are_not_flattened(slug, spec):
    with pytest.raises(ConfigError, match="fixed number of tokens"):
        Flattened(build(slug, spec))
