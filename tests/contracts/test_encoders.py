"""What holds for every encoder in the catalog, for each modality on its card."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tacita.catalog.discover import cards, load_class
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, TokenEncoder
from tacita.encoders import build, untrained
from tacita.errors import ConfigError
from tacita.values import length_mask
from tests.helpers import BATCHES, assert_close

TINY = {"backbone": {"name": "timm/test_efficientnet"}}
"""Options where the default is a large network."""

CASES = [
    pytest.param(card.slug, modality, id=f"{card.slug}-{modality}")
    for card in cards().values()
    if card.family == "encoder"
    for modality in card.modalities
    if modality in BATCHES
]
CONTINUOUS = [case for case in CASES if case.values[1] != "text"]
SERIES = [case for case in CASES if case.values[1] == "series"]
TOKENS = [case for case in CASES if issubclass(load_class(case.values[0]), TokenEncoder)]


def make(slug: str, modality: str, seed: int = 0) -> tuple[Encoder, Batch]:
    spec, batch = BATCHES[modality]()
    torch.manual_seed(seed)
    return build(slug, spec, **TINY.get(slug, {})), batch


def states(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.mark.parametrize("slug, modality", CASES)
def test_shapes_follow_the_contract(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    tokens, pooled = encoder(batch)
    assert encoder.spec.modality == modality
    assert pooled.shape == (len(batch), encoder.dim)
    assert tokens.shape == (len(batch), tokens.shape[1], encoder.dim)
    assert tokens.isfinite().all()
    assert pooled.isfinite().all()


@pytest.mark.parametrize("slug, modality", CASES)
def test_another_of_its_kind_has_its_shapes_and_weights_of_its_own(
    slug: str, modality: str
) -> None:
    encoder, _ = make(slug, modality)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.fill_(7.0)
    other = untrained(copy.deepcopy(encoder))
    assert {k: v.shape for k, v in states(other).items()} == {
        k: v.shape for k, v in states(encoder).items()
    }
    assert not any(bool((parameter == 7.0).all()) for parameter in other.parameters())
    assert type(other) is type(encoder)


def test_an_encoder_made_by_hand_has_no_other_of_its_kind() -> None:
    spec, _ = BATCHES["images"]()
    with pytest.raises(ConfigError, match=r"ResidualCNN.*not known"):
        untrained(load_class("residual-cnn")(spec))


@pytest.mark.parametrize("slug, modality", CASES)
def test_features_differ_between_samples(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    features = encoder.eval()(batch.x, batch.mask).pooled
    assert (torch.pdist(features) > 0).all()


@pytest.mark.parametrize("slug, modality", CASES)
def test_another_modality_is_refused(slug: str, modality: str) -> None:
    encoder = load_class(slug)
    for other in set(BATCHES) - set(encoder.modalities):
        spec, _ = BATCHES[other]()
        with pytest.raises(ConfigError, match=f"not {other}"):
            encoder(spec)


@pytest.mark.parametrize("slug, modality", CASES)
def test_a_seed_fixes_the_weights(slug: str, modality: str) -> None:
    first, second = states(make(slug, modality)[0]), states(make(slug, modality)[0])
    other = states(make(slug, modality, seed=1)[0])
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("slug, modality", CASES)
def test_evaluation_repeats_itself_and_changes_nothing(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    before, x = states(encoder), batch.x.clone()
    first = encoder(batch)
    second = encoder(batch)
    assert torch.equal(first.pooled, second.pooled)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(batch.x, x)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("slug, modality", CASES)
def test_a_sample_is_evaluated_apart_from_its_batch(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    mask = None if batch.mask is None else batch.mask[3:5]
    assert_close(encoder(batch.x[3:5], mask).pooled, encoder(batch).pooled[3:5])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("slug, modality", SERIES)
def test_values_beyond_the_length_do_not_matter(slug: str, modality: str, training: bool) -> None:
    encoder, batch = make(slug, modality)
    encoder.train(training)
    clean = encoder(batch)
    for rubbish in (100.0, float("nan")):
        dirty = encoder(batch.x.masked_fill(~batch.mask[:, :, None], rubbish), batch.mask)
        assert_close(dirty.pooled, clean.pooled)
        assert_close(dirty.tokens, clean.tokens)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("slug, modality", SERIES)
def test_more_padding_does_not_matter(slug: str, modality: str, training: bool) -> None:
    encoder, batch = make(slug, modality)
    encoder.train(training)
    longer = torch.cat([batch.x, torch.ones(len(batch), 21, batch.x.shape[2])], 1)
    mask = length_mask(batch.lengths, longer.shape[1])
    assert_close(encoder(longer, mask).pooled, encoder(batch).pooled)


@pytest.mark.parametrize("slug, modality", SERIES)
def test_a_full_mask_is_no_mask(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    everything = torch.ones(batch.x.shape[:2], dtype=torch.bool)
    assert_close(encoder(batch.x, everything).pooled, encoder(batch.x).pooled)


@pytest.mark.parametrize("slug, modality", SERIES)
def test_a_series_without_any_step_gives_finite_features(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    mask = batch.mask.clone()
    mask[0] = False
    features = encoder(batch.x, mask).pooled
    features.sum().backward()
    assert features.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("slug, modality", CASES)
def test_every_parameter_gets_a_gradient(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    features = encoder(batch).pooled
    torch.manual_seed(0)
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("slug, modality", CONTINUOUS)
def test_the_gradient_is_that_of_finite_differences(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.double().eval()
    x = batch.x[:4].double()
    mask = None if batch.mask is None else batch.mask[:4]
    direction = torch.randn(
        x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    if modality == "tables":  # nothing varies between one category and the next
        direction[:, torch.tensor(encoder.spec.cardinalities) > 0] = 0.0
    # Backgrounds of one grey are ties of a max pooling, where there is more than one gradient.
    x = x + 0.01 * direction.flip(0)
    weights = torch.linspace(-1, 1, encoder.dim, dtype=torch.float64)

    def value(at: Tensor) -> Tensor:
        return (encoder(at, mask).pooled * weights).sum()

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    step = 1e-6 * direction
    slope = (value(x + step) - value(x - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("slug, modality", CASES)
def test_saved_weights_give_the_same_features(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder(batch)  # moves running statistics, which must be saved too
    other, _ = make(slug, modality, seed=1)
    other.load_state_dict(copy.deepcopy(encoder.state_dict()))
    expected = encoder.eval()(batch.x, batch.mask).pooled
    assert torch.equal(other.eval()(batch.x, batch.mask).pooled, expected)


@pytest.mark.parametrize("slug, modality", CASES)
def test_reduced_precision_stays_finite(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(batch).pooled
        features.float().square().mean().backward()
    assert features.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("slug, modality", CASES)
def test_it_can_be_exported_for_any_batch_size(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    samples = torch.export.Dim("samples", min=1, max=4096)
    masked = batch.mask is not None
    inputs = (batch.x, batch.mask) if masked else (batch.x,)
    dynamic = {"x": {0: samples}, "mask": {0: samples} if masked else None}
    program = torch.export.export(
        encoder, inputs, dynamic_shapes=dynamic if masked else {"x": {0: samples}}
    )
    few = tuple(tensor[:3] for tensor in inputs)
    assert_close(program.module()(*few).pooled, encoder(*few).pooled)


@pytest.mark.parametrize("slug, modality", TOKENS)
def test_tokens_have_patches_positions_and_weights(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    patches, tokens = encoder.patches(batch.x), encoder.embed(batch.x)
    assert patches.shape[:2] == tokens.shape[:2]
    assert encoder.positions.shape == tokens.shape[1:]
    rows, columns = encoder.grid
    assert rows * columns == tokens.shape[1]
    weights = encoder.patch_weights()
    if weights is not None:
        assert weights.shape == patches.shape[1:]
        assert set(weights.unique().tolist()) <= {0.0, 1.0}
        assert (patches * (1 - weights) == 0).all()
    assert (encoder.token_mask(batch.mask) is None) == (batch.mask is None)


@pytest.mark.parametrize("slug, modality", TOKENS)
def test_hidden_tokens_are_as_if_they_were_not_there(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    tokens = encoder.embed(batch.x)
    keep = torch.rand(tokens.shape[1], generator=torch.Generator().manual_seed(0)) < 0.5
    keep[0] = True
    alone = encoder.blocks(tokens[:, keep])
    among = encoder.blocks(tokens, keep.expand(len(batch), -1))[:, keep]
    assert_close(among, alone)
    every = torch.ones(tokens.shape[:2], dtype=torch.bool)
    assert (encoder.blocks(tokens)[:, keep] - among).abs().max() > 1e-4
    assert_close(encoder.blocks(tokens, every), encoder.blocks(tokens))


def test_a_wrong_name_or_option_says_which_is_near() -> None:
    spec = InputSpec("images", (1, 8, 8))
    with pytest.raises(ConfigError, match="residual-cnn"):
        build("residual-cn", spec)
    with pytest.raises(ConfigError, match="width"):
        build("residual-cnn", spec, widht=8)
    with pytest.raises(ConfigError, match="not an encoder"):
        build("barlow-twins", spec)
    with pytest.raises(ConfigError, match="not images"):
        build("residual-conv", spec)
