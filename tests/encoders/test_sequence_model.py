"""What could go wrong unseen: a stream drifts from the whole, options reach another layer than named,
padding or the future leaks into features, or the slow rates of state-space parameters are lost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tacita import layers
from tacita.catalog.recipe import Recipe, dump_recipe, find_recipe, recipe_from_options
from tacita.catalog.signature import parameters
from tacita.catalog.values import parse_assignments
from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.encoders.language_model import LanguageModel
from tacita.encoders.sequence_model import SequenceModel
from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError, DataError
from tacita.values import Ragged, length_mask
from tests.helpers import BATCHES, assert_close

WIDTH = 16
SERIES = InputSpec("series", (20, 3))
TEXT = InputSpec("text", (20,), vocabulary=7)


def make(spec: InputSpec = SERIES, layer: str = "s4d", **options: object) -> SequenceModel:
    torch.manual_seed(0)
    small = {"d_state": 4} if "d_state" in parameters(layer) else {}
    given = {"layer_options": small, "d_model": WIDTH, "depth": 2, **options}
    return SequenceModel(spec, layer=layer, **given).double().eval()


def samples(spec: InputSpec, size: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if spec.modality == "text":
        return torch.randint(spec.vocabulary, (size, *spec.shape), generator=generator)
    return torch.randn(size, *spec.shape, generator=generator, dtype=torch.float64)


def streamed(model: SequenceModel, x: Tensor) -> Tensor:
    state, tokens = model.initial_state(len(x)), []
    for t in range(x.shape[1]):
        token, state = model.step(x[:, t], state)
        tokens.append(token)
    return torch.stack(tokens, 1)


@pytest.mark.parametrize("name", layers.names())
def test_every_layer_can_be_named_and_learns_in_all_its_parameters(name: str) -> None:
    model = make(layer=name)
    tokens, pooled = model(samples(SERIES))
    assert tokens.shape == (3, 20, WIDTH)
    torch.manual_seed(0)
    (pooled * torch.randn_like(pooled)).sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("spec", [SERIES, TEXT], ids=["series", "text"])
@pytest.mark.parametrize("name", layers.names())
def test_a_stream_gives_the_tokens_of_the_whole(name: str, spec: InputSpec) -> None:
    model = make(spec, name)
    if not model.stack.streams:
        with pytest.raises(ConfigError, match="step form"):
            model.initial_state(1)
        return
    x = samples(spec)
    assert_close(streamed(model, x), model(x).tokens)


@pytest.mark.parametrize("options", [{"prenorm": False}, {"norm": "rms"}, {"channel_mixer": "mlp"}])
def test_a_stream_gives_the_tokens_of_the_whole_in_any_block(options: dict[str, object]) -> None:
    model, x = make(**options), samples(SERIES)
    assert_close(streamed(model, x), model(x).tokens)


def test_a_causal_model_does_not_see_the_future_and_a_bidirectional_one_does() -> None:
    x = samples(SERIES)
    other = x.clone()
    other[:, 12:] += 1.0
    for model, sees in [(make(), False), (make(bidirectional=True), True)]:
        change = (model(other).tokens - model(x).tokens)[:, :12].abs().max()
        assert (change > 1e-4) == sees == (not model.causal)
        assert sees or change < 1e-9


def test_reversing_both_the_series_and_the_directions_changes_nothing() -> None:
    model, mirrored = make(depth=1, bidirectional=True), make(depth=1, bidirectional=True)
    mirrored.load_state_dict(model.state_dict())
    layer = mirrored.stack.blocks[0].layer
    layer.forwards, layer.backwards = layer.backwards, layer.forwards
    with torch.no_grad():
        layer.join.weight.copy_(layer.join.weight.roll(WIDTH, 1))
    x = samples(SERIES)
    assert_close(mirrored(x.flip(1)).tokens.flip(1), model(x).tokens)


@pytest.mark.parametrize("spec", [SERIES, TEXT], ids=["series", "text"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_sample_is_as_if_alone(spec: InputSpec, bidirectional: bool) -> None:
    model, x = make(spec, bidirectional=bidirectional), samples(spec)
    lengths = torch.tensor([20, 7, 1])
    mask = length_mask(lengths, 20)
    padded = x.masked_fill(~mask, 99) if spec.modality == "text" else x.clone()
    if spec.modality == "series":
        padded[~mask] = float("nan")
    for pooling in ("mean", "last"):
        model.pooling = pooling
        tokens, pooled = model(Ragged.of(padded, lengths))
        assert (tokens[~mask] == 0).all()
        for row, length in enumerate(lengths.tolist()):
            alone = model(x[row : row + 1, :length])
            assert_close(tokens[row : row + 1, :length], alone.tokens)
            assert_close(pooled[row : row + 1], alone.pooled)


def test_pooling_is_the_mean_or_the_last_of_the_valid_tokens() -> None:
    lengths = torch.tensor([20, 5, 0])
    x = Ragged.of(samples(SERIES), lengths)
    tokens = make()(x).tokens
    mean = torch.stack([tokens[0].mean(0), tokens[1, :5].mean(0), torch.zeros(WIDTH).double()])
    assert_close(make()(x).pooled, mean)
    last = torch.stack([tokens[0, 19], tokens[1, 4], torch.zeros(WIDTH).double()])
    assert_close(make(pooling="last")(x).pooled, last)


def test_state_space_parameters_keep_their_own_rate() -> None:
    model = make()
    named = dict(model.named_parameters())
    groups = build_optimizer(model, "adamw", 0.01, 0.05).param_groups
    settings = {id(p): (g["base"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(settings) == len(named)
    for path, parameter in named.items():
        slow = path.endswith((".log_step", ".log_decay", ".frequency", ".layer.B"))
        decays = parameter.ndim > 1 and not slow
        assert settings[id(parameter)] == (0.001 if slow else 0.01, 0.05 if decays else 0.0), path


def test_dropout_takes_channels_and_only_in_training() -> None:
    model, x = make(dropout=0.5), samples(SERIES)
    assert_close(model(x).tokens, make()(x).tokens)
    model.train()
    assert (model(x).tokens - model(x).tokens).abs().max() > 1e-3


def test_layer_options_reach_every_layer() -> None:
    for bidirectional in (False, True):
        model = make(layer_options={"d_state": 6}, bidirectional=bidirectional)
        sizes = [m.frequency.shape for m in model.modules() if hasattr(m, "frequency")]
        assert sizes == [(WIDTH, 3)] * (4 if bidirectional else 2)


def test_a_layer_with_a_longest_length_gets_that_of_the_samples() -> None:
    limited = [name for name in layers.names() if "max_length" in parameters(name)]
    for name in limited:
        assert make(layer=name).stack.max_length == 20, name
        longer = make(layer=name, layer_options={"max_length": 32})
        assert longer.stack.max_length == 32, name


def test_token_embeddings_are_looked_up() -> None:
    model, x = make(TEXT), samples(TEXT)
    assert isinstance(model.enter, nn.Embedding)
    assert model.enter.weight.shape == (8, WIDTH)  # a multiple of 8, beyond the vocabulary
    assert torch.equal(model.embed(x)[1, 3], model.enter.weight[x[1, 3]])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": "s4dd"}, r"did you mean s4d"),
        ({"layer": "residual-conv"}, "not a sequence layer"),
        ({"layer_options": {"d_stat": 4}}, r"layer_options\.d_stat: unknown; did you mean d_state"),
        ({"layer_options": {"d_state": "4"}}, r"layer_options\.d_state: '4' is not a whole number"),
        ({"layer_options": {"start": "hippo"}}, r"layer_options\.start: 'hippo' is not 'legs'"),
        ({"depth": 0}, "depth=0"),
        ({"d_model": 0}, "d_model=0"),
        ({"pooling": "max"}, "pooling='max'"),
        ({"norm": "batch"}, "norm='batch'"),
        ({"channel_mixer": "fft"}, "channel_mixer='fft'"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SequenceModel(SERIES, **options)


def test_text_needs_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        SequenceModel(InputSpec("text", (20,)))


def test_it_can_be_written_down_in_a_recipe(tmp_path) -> None:
    words = ["encoder=sequence-model", "encoder.layer_options={d_state: 8, start: inv}"]
    recipe = recipe_from_options("pretrain", "barlow-twins", parse_assignments(words))
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    again = find_recipe(str(path))
    assert again == recipe
    spec, batch = BATCHES["series"]()
    encoder = build("sequence-model", spec, **again.arguments("encoder"))
    assert encoder(batch).pooled.shape == (16, 64)
    assert encoder.stack.blocks[0].layer.frequency.shape == (64, 4)


@pytest.mark.parametrize(
    "value, message",
    [
        ({"d_state": [1]}, "it is not a plain mapping"),
        ({"d_state": None}, r"layer_options: {'d_state': None} is not a mapping of names"),
        (4, r"layer_options: 4 is not a mapping of names to values \(a whole number"),
    ],
)
def test_a_recipe_refuses_what_is_no_mapping_of_plain_values(value, message: str) -> None:
    options = {"encoder": "sequence-model", "encoder.layer_options": value}
    with pytest.raises(ConfigError, match=message):
        recipe_from_options("learn", "supervised", options)


def test_a_layer_cannot_be_an_encoder_by_itself() -> None:
    recipe = Recipe.model_validate(
        {"name": "x", "encoder": {"method": "s4d"}, "learn": {"method": "supervised"}}
    )
    with pytest.raises(ConfigError, match=r"encoder\.method: s4d is of the family layer"):
        recipe.check()


def test_padding_that_does_not_come_last_is_refused() -> None:
    model, tokens = make(), torch.randn(2, 5, WIDTH, dtype=torch.float64)
    left = torch.tensor([[True, True, False, False, False], [False, False, True, True, True]])
    with pytest.raises(DataError, match=r"in sample 1 .* padding comes before") as error:
        model.blocks(tokens, left)
    assert "to the front" in error.value.remedy
    right = length_mask(torch.tensor([2, 3]), 5)
    assert_close(model.blocks(tokens, right)[1, :3], model.blocks(tokens[1:, :3])[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_continues_texts(dtype: torch.dtype) -> None:
    model = LanguageModel(TEXT, layer="mamba", d_model=WIDTH, depth=1).to(dtype).eval()
    ids, lengths = samples(TEXT), torch.tensor([20, 3, 1], dtype=torch.uint8)
    found = model.generate(ids, 3, lengths=lengths, temperature=0)
    assert torch.equal(found, model.generate(ids, 3, lengths=lengths.long(), temperature=0))
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(
            model.generate(ids[row : row + 1, :length], 3, temperature=0)[0], found[row]
        )
