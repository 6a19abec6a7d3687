"""What holds for every encoder in the catalog, for each modality that it reads, on the modality's example."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tacita.catalog.discover import cards, load_class, modalities, reads
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, TokenEncoder
from tacita.encoders import build, default_encoder, untrained
from tacita.errors import ConfigError
from tacita.values import Ragged, Values, full
from tests.helpers import assert_close, example_batch, same_values, with_examples

EXAMPLES = with_examples()
SEEN = {**{name: name for name in EXAMPLES}, "sensor series": "series"}
"""What encoders are tried on, and the modality of it."""
CASES = [
    pytest.param(card.slug, name, id=f"{card.slug}-{name}")
    for card in cards().values()
    if card.family == "encoder"
    for name, modality in SEEN.items()
    if modality in reads(card)
]


def samples_of(modality: str) -> Values:
    return example_batch(modality)[1].samples


CONTINUOUS = [
    case
    for case in CASES
    if samples_of(case.values[1]).dtype.is_floating_point
    and not load_class(case.values[0]).surrogate
]
RAGGED = [case for case in CASES if isinstance(samples_of(case.values[1]), Ragged)]
TOKENS = [case for case in CASES if issubclass(load_class(case.values[0]), TokenEncoder)]


def make(slug: str, modality: str, seed: int = 0) -> tuple[Encoder, Batch]:
    spec, batch = example_batch(modality)
    torch.manual_seed(seed)
    return build(slug, spec, **load_class(slug).tiny), batch


def ragged(slug: str, modality: str) -> tuple[Encoder, Ragged]:
    encoder, batch = make(slug, modality)
    assert isinstance(batch.samples, Ragged)
    for part in encoder.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # what is dropped is drawn anew for another padding
    return encoder, batch.samples


def states(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def of_tensors(samples: Values, x: Tensor) -> Values:
    return Ragged.of(x, samples.lengths[: len(x)]) if isinstance(samples, Ragged) else x


def same(actual: Encoding, expected: Encoding) -> None:
    assert_close(actual.pooled, expected.pooled)
    assert_close(actual.tokens, expected.tokens)


def test_every_encoder_that_a_modality_names_is_there_and_reads_it() -> None:
    known = cards()
    for name, card in modalities().items():
        for slug in (card.encoder, *card.encoders.values()):
            assert known[slug].family == "encoder", f"{name}: {slug}"
            assert name in reads(known[slug]), f"{name}: {slug}"


@pytest.mark.parametrize("slug, modality", CASES)
def test_shapes_follow_the_contract(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoding = encoder(batch)
    tokens, pooled = encoding
    assert encoder.spec.modality == SEEN[modality]
    assert pooled.shape == (len(batch), encoder.dim)
    if encoding.owner is None:
        assert tokens.shape == (len(batch), tokens.shape[1], encoder.dim)
    else:
        assert tokens.shape == (len(encoding.owner), encoder.dim)
        assert set(encoding.owner.tolist()) <= set(range(len(batch)))
    assert tokens.isfinite().all()
    assert pooled.isfinite().all()


@pytest.mark.parametrize("slug, modality", CASES)
def test_the_modalities_of_its_class_are_those_of_its_card(slug: str, modality: str) -> None:
    assert load_class(slug).modalities == cards()[slug].modalities


@pytest.mark.parametrize("slug, modality", CASES)
def test_a_batch_and_its_samples_alone_are_encoded_alike(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    other = replace(batch, targets=batch.targets + 1, index=batch.index + 7)
    assert torch.equal(encoder(batch.samples).pooled, encoder(batch).pooled)
    assert torch.equal(encoder(other).pooled, encoder(batch).pooled)


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
    spec, _ = example_batch("images")
    with pytest.raises(ConfigError, match=r"ResidualCNN.*not known"):
        untrained(load_class("residual-cnn")(spec))


@pytest.mark.parametrize("slug, modality", CASES)
def test_features_differ_between_samples(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    features = encoder.eval()(batch).pooled
    assert (torch.pdist(features) > 0).all()


@pytest.mark.parametrize("slug", sorted({case.values[0] for case in CASES}))
def test_another_modality_is_refused(slug: str) -> None:
    encoder = load_class(slug)
    for other in set(EXAMPLES) - set(encoder.modalities):
        spec, _ = example_batch(other)
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
    before, untouched = states(encoder), copy.deepcopy(batch)
    first = encoder(batch)
    second = encoder(batch)
    assert torch.equal(first.pooled, second.pooled)
    assert torch.equal(first.tokens, second.tokens)
    same_values(batch.samples, untouched.samples)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("slug, modality", CASES)
def test_a_sample_is_evaluated_apart_from_its_batch(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    encoder.eval()
    some = torch.tensor([5, 3])
    assert_close(encoder(batch.samples[some]).pooled, encoder(batch).pooled[some])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("slug, modality", RAGGED)
def test_values_beyond_the_length_do_not_matter(slug: str, modality: str, training: bool) -> None:
    encoder, samples = ragged(slug, modality)
    encoder.train(training)
    clean = encoder(samples)
    beyond = ~samples.mask
    assert beyond.any()
    for rubbish in (100.0, float("nan")) if samples.dtype.is_floating_point else (1, -1):
        x = samples.padded.clone()
        x[beyond] = rubbish
        same(encoder(Ragged.of(x, samples.lengths)), clean)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("slug, modality", RAGGED)
def test_more_padding_does_not_matter(slug: str, modality: str, training: bool) -> None:
    encoder, samples = ragged(slug, modality)
    encoder.train(training)
    longer = samples.widened(samples.longest + 21)
    assert_close(encoder(longer).pooled, encoder(samples).pooled)


@pytest.mark.parametrize("slug, modality", RAGGED)
def test_samples_end_to_end_are_encoded_as_padded_ones(slug: str, modality: str) -> None:
    encoder, samples = ragged(slug, modality)
    padded = Ragged.of(samples.padded, samples.lengths)
    flat = Ragged(samples.flat, samples.lengths, samples.longest)
    same(encoder.eval()(flat), encoder(padded))


@pytest.mark.parametrize("slug, modality", RAGGED)
def test_full_lengths_are_no_lengths(slug: str, modality: str) -> None:
    encoder, samples = ragged(slug, modality)
    assert_close(encoder(full(samples.padded)).pooled, encoder(samples.padded).pooled)


@pytest.mark.parametrize("slug, modality", RAGGED)
def test_a_sample_without_any_step_gives_finite_features(slug: str, modality: str) -> None:
    encoder, samples = ragged(slug, modality)
    lengths = samples.lengths.clone()
    lengths[0] = 0
    features = encoder(Ragged.of(samples.padded, lengths)).pooled
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
    direction = torch.randn(
        x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    categories = torch.tensor(encoder.spec.cardinalities) > 0
    if categories.any():  # nothing varies between one category and the next
        direction[:, categories] = 0.0
    # Backgrounds of one grey are ties of a max pooling, where there is more than one gradient.
    x = x + 0.01 * direction.flip(0)
    weights = torch.linspace(-1, 1, encoder.dim, dtype=torch.float64)

    def value(at: Tensor) -> Tensor:
        return (encoder(of_tensors(batch.samples, at)).pooled * weights).sum()

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
    expected = encoder.eval()(batch).pooled
    assert torch.equal(other.eval()(batch).pooled, expected)


@pytest.mark.parametrize("slug, modality", CASES)
def test_reduced_precision_stays_finite(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(batch).pooled
        features.float().square().mean().backward()
    assert features.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


class Program(nn.Module):
    """An encoder as what is exported has it: tensors in, a tensor out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.encoder(x if lengths is None else Ragged.of(x, lengths)).pooled


@pytest.mark.parametrize("slug, modality", CASES)
def test_it_can_be_exported_for_any_batch_size(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    program = Program(encoder).eval()
    samples = batch.samples
    inputs = (samples.padded, samples.lengths) if isinstance(samples, Ragged) else (batch.x,)
    count = torch.export.Dim("count", min=1, max=4096)
    names = ("x", "lengths")[: len(inputs)]
    exported = torch.export.export(
        program, inputs, dynamic_shapes={name: {0: count} for name in names}
    )
    few = tuple(tensor[:3] for tensor in inputs)
    assert_close(exported.module()(*few), program(*few))


@pytest.mark.parametrize("slug, modality", TOKENS)
def test_tokens_have_patches_positions_and_weights(slug: str, modality: str) -> None:
    encoder, batch = make(slug, modality)
    assert isinstance(encoder, TokenEncoder)
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
    assert isinstance(encoder, TokenEncoder)
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


def test_the_default_encoder_is_the_one_that_serves_the_need() -> None:
    for name, card in modalities().items():
        spec = InputSpec(name, (8, 8))
        assert default_encoder(spec) == card.encoder
        assert default_encoder(spec, ["nothing of it"]) == card.encoder
        for need, slug in card.encoders.items():
            assert default_encoder(spec, [need]) == slug


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
