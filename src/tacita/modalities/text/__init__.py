"""Texts: token numbers of a vocabulary, from words, bytes or a tokeniser that is brought along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tacita.catalog.cards import modality
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Fact, Meta, Modality, Strength, unlike
from tacita.data.normalise import Normaliser
from tacita.data.reading import Reading, Samples, Source
from tacita.errors import ConfigError, DataError
from tacita.modalities.choice import unreadable
from tacita.modalities.readers.columns import strings, take_column, take_ids
from tacita.modalities.readers.files import TEXT_FILES
from tacita.modalities.readers.rows import array_row
from tacita.modalities.readers.sources import FolderSource, ListSource, TableSource
from tacita.modalities.text.meta import TextMeta
from tacita.modalities.text.normalise import Trimmed
from tacita.modalities.text.read import checked, column_texts, file_text, text_column
from tacita.modalities.text.rows import counts, telling, topics
from tacita.modalities.text.tokenisers import learnt, tokeniser_of
from tacita.modalities.text.views import TextViews
from tacita.tasks.labels import arrow_labels
from tacita.values import Ragged, Values, as_tensor, full
from tacita.words import plural

USUAL_TOKENISER = "words"
_COMMON = 64
"""The most frequent tokens, by which two sets of texts are told apart."""
_MANY = 0.2
_MARKS = 12


@modality(
    "text",
    title="Texts",
    encoder="text-transformer",
    encoders={"steps": "sequence-model", "dropout": "text-transformer"},
    gives=("steps", "tokens", "views", "dropout"),
    usual=("supervised", "masked-language-modelling-fine-tune"),
    hidden_share=0.15,
)
class Text(Modality):
    """Token numbers `(L,)`. `hidden_share` is usual for masked language models."""

    meta = TextMeta
    alone = tuple(TEXT_FILES)
    options = ("text", "tokeniser")
    wants = (
        "Name the column of a table with text= (--text), or give a folder of .txt files or a list."
    )

    def claims(self, source: Source, reading: Reading) -> int:
        if isinstance(source, TableSource):
            return 4 * (reading.text is not None)
        if isinstance(source, ListSource):
            return 3 * isinstance(source.items[0], str)
        # A readme beside images does not make a folder one of texts.
        return int(isinstance(source, FolderSource) and source.has(TEXT_FILES))

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        known = _meta(like)
        if reading.text is not None and not isinstance(source, TableSource):
            raise ConfigError(
                f"text={reading.text!r}, but {source.name} is no table.",
                remedy="Leave it out: it names a column.",
            )
        if isinstance(source, TableSource):
            yield from _table(source, reading, known, chunk)
        elif isinstance(source, FolderSource):
            yield from _folder(source, reading, known, chunk)
        elif isinstance(source, ListSource):
            yield from _list(source, reading, known, chunk)
        else:
            raise self.cannot(source, like)

    def conform(self, samples: Samples, like: Schema) -> Samples:
        known, meta = like.meta, samples.meta
        assert isinstance(known, TextMeta)
        assert isinstance(meta, TextMeta)
        if meta.reading != known.reading:
            raise _other_tokens(samples.source, "the model")
        _check_tokens(samples.values, known.vocabulary, samples.source)
        return replace(samples, meta=known.like(samples.values))

    def check_alike(self, data: Dataset, other: Dataset) -> None:
        a, b = data.meta, other.meta
        assert isinstance(a, TextMeta)
        assert isinstance(b, TextMeta)
        if data.samples.dtype != other.samples.dtype:
            raise unlike(data, other)
        if a.reading != b.reading:
            raise _other_tokens(other.source, data.source)
        _check_tokens(other.samples, a.vocabulary, other.source)

    def check_terms(self, data: Dataset, like: Schema) -> None:
        a, b = data.meta, like.meta
        assert isinstance(a, TextMeta)
        if not isinstance(b, TextMeta) or a.reading != b.reading:
            raise DataError(
                f"{data.source}: was read by another tokeniser or vocabulary than the model.",
                remedy="Read it by the model's own: tokeniser=FOLDER of the model (--tokeniser).",
            )

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return Trimmed(spec)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        return TextViews.weak(spec) if strength == "weak" else TextViews.strong(spec)

    def rows(self, batch: Batch, spec: InputSpec) -> Tensor:
        """The texts' main directions by TF-IDF: token numbers mean nothing as numbers."""
        return topics(batch.samples, spec.vocabulary)

    def words(self, data: Dataset) -> str:
        lengths = _ragged(data.samples).lengths
        low, high = (int(lengths.min()), int(lengths.max())) if len(lengths) else (0, 0)
        middle = float(lengths.double().quantile(0.5)) if len(lengths) else 0
        length = f"{high}" if low == high else f"{low}-{high} (median {middle:g})"
        return f"{len(data)} texts of {length} tokens"

    def facts(self, data: Dataset) -> list[Fact]:
        meta = data.meta
        assert isinstance(meta, TextMeta)
        said = [f"{meta.tokeniser}, {meta.vocabulary} in the vocabulary"]
        if meta.unknown_token is not None:
            said.append(f"{_share(data, meta.unknown_token):.1%} unknown")
        if meta.cut:
            said.append(f"{plural(meta.cut, 'text')} cut to {meta.shape[0]}")
        return [("tokens", ", ".join(said))]

    def suspicions(self, data: Dataset) -> list[str]:
        meta = data.meta
        assert isinstance(meta, TextMeta)
        said = []
        none = 0 if meta.empty_token is None else _alone(data.samples, meta.empty_token)
        if none:
            said.append(f"{plural(none, 'text')} without any token")
        if meta.unknown_token is not None and _share(data, meta.unknown_token) > _MANY:
            said.append(
                "over a fifth of the tokens are unknown: take another tokeniser (bpe, bytes)"
            )
        if len(data) and meta.cut > len(data) / 2:
            said.append(f"most texts are longer than {meta.shape[0]} tokens: the rest is not seen")
        return said

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """The shares of the most frequent tokens; how long a text is and how often it repeats itself."""
        found = counts(data.samples, data.spec.vocabulary)
        lengths = torch.from_numpy(found.sum(1).A1)
        common = torch.from_numpy(found.sum(0).A1).argsort(descending=True, stable=True)[:_COMMON]
        shares = torch.from_numpy(found[:, common.numpy()].toarray()) / lengths[:, None]
        different = torch.from_numpy((found > 0).sum(1).A1) / lengths
        return shares.float(), torch.stack([lengths.log(), different], 1).float()

    def marks(self, data: Dataset) -> dict[str, list[str]]:
        """The tokens that tell the classes apart, by their log-odds."""
        meta, codes = data.meta, data.task.codes(data.targets)
        assert isinstance(meta, TextMeta)
        if codes is None or meta.tokeniser == "numbers":
            return {}
        tokeniser, known = tokeniser_of(meta), codes >= 0
        found = telling(data.samples[known], codes[known], meta.vocabulary, _MARKS)
        names = {
            data.task.answers[code]: [tokeniser.text([token]).strip() for token in tokens]
            for code, tokens in found.items()
        }
        return {name: [word for word in words if word] for name, words in names.items()}

    def show(self, data: Dataset, position: int) -> str:
        meta = data.meta
        assert isinstance(meta, TextMeta)
        tokens = _ragged(data.samples[torch.tensor([position])]).flat.tolist()
        if meta.tokeniser == "numbers":
            return " ".join(map(str, tokens))
        return tokeniser_of(meta).text(tokens)

    def example_inputs(self, normaliser: Normaliser, meta: Meta, size: int) -> Values:
        assert isinstance(meta, TextMeta)
        generator = torch.Generator().manual_seed(size)
        lengths = torch.randint(1, meta.shape[0] + 1, (size,), generator=generator)
        tokens = torch.randint(meta.vocabulary, (int(lengths.sum()),), generator=generator)
        return Ragged(tokens, lengths, meta.shape[0])

    def example(self) -> Dataset:
        """What torch's documentation says of 4 kinds of its parts: nothing is downloaded."""
        from tacita.modalities.text.example import torch_docs

        return torch_docs()


def _table(
    source: TableSource, reading: Reading, known: TextMeta | None, chunk: int | None
) -> Iterator[Samples]:
    start = 0
    for table in source.pieces(chunk):
        if not len(table):
            continue
        place, name = source.row_name(start), source.name
        column = reading.text if known is None else known.text
        if known is not None and column is None:
            column = _only_column(table, known, name)
        cells = column_texts(text_column(table, column, name), str(column), name)
        texts = checked(cells, reading.missing, f"{name}, column {column!r}", place)
        table = table.drop_columns([str(column)])
        if known is None:
            labels = None if reading.labels is None else str(reading.labels)
            if column in (labels, reading.group, reading.weight):
                raise ConfigError(
                    f"column {column!r} of {name} cannot be both the text and its label, group or weight."
                )
            raw, table = take_column(table, labels, name, "labels")
            groups, table = take_column(table, reading.group, name, "group")
            weights, table = take_column(table, reading.weight, name, "weight")
            ids, id_column, _ = take_ids(table, reading.id_column, name)
            facts = {"text": column, "id_column": id_column}
            samples = _samples(texts, name, _learnt(texts, reading, facts), raw, groups, ids)
            yield replace(samples, weights=weights)
        else:
            raw = arrow_labels(table[known.target]) if known.target in table.column_names else None
            ids = ()
            if known.id_column in table.column_names:
                ids = tuple(text or "" for text in strings(table[known.id_column]).to_pylist())
            yield _samples(texts, name, known, raw, None, ids)
        start += len(table)


def _folder(
    source: FolderSource, reading: Reading, known: TextMeta | None, chunk: int | None
) -> Iterator[Samples]:
    entries = source.files(TEXT_FILES)
    if not entries:
        raise unreadable(source)
    step = chunk or len(entries)
    for start in range(0, len(entries), step):
        part = entries[start : start + step]
        names = [entry.name for entry in part]
        texts = checked(
            [file_text(entry) for entry in part], reading.missing, source.name, names.__getitem__
        )
        meta = _learnt(texts, reading, {}) if known is None else known
        labels = [entry.label for entry in part]
        found = labels if any(label is not None for label in labels) else None
        yield _samples(texts, source.name, meta, found, None, tuple(names))


def _list(
    source: ListSource, reading: Reading, known: TextMeta | None, chunk: int | None
) -> Iterator[Samples]:
    step = chunk or len(source.items)
    for start in range(0, len(source.items), step):
        items = source.items[start : start + step]
        other = next((i for i, item in enumerate(items) if not isinstance(item, str)), None)
        if other is not None:
            raise DataError(
                f"{source.name}: item {start + other} is a {type(items[other]).__name__}, not a text.",
                remedy="Give a list of texts.",
            )
        texts = checked(items, reading.missing, source.name, array_row(start))
        meta = _learnt(texts, reading, {}) if known is None else known
        yield _samples(texts, source.name, meta, None, None, ())


def _learnt(texts: Sequence[str], reading: Reading, facts: dict[str, Any]) -> TextMeta:
    """The facts of texts whose vocabulary is theirs, or that of the tokeniser they were given."""
    name = reading.tokeniser or USUAL_TOKENISER
    return TextMeta(**learnt(name, texts), **facts)


def _samples(
    texts: Sequence[str],
    source: str,
    meta: TextMeta,
    labels: Any,
    groups: Any,
    ids: tuple[str, ...],
) -> Samples:
    found = tokeniser_of(meta)(texts)
    values = Ragged(found.flat, found.lengths, meta.shape[0])
    meta = meta.model_copy(update={"cut": found.cut})
    return Samples(values, meta, source, labels, groups, ids)


def _only_column(table: Any, known: TextMeta, source: str) -> str:
    """Of a model that learnt from files or a list: the column of a table that can only be the texts."""
    aside = (known.target, known.group, known.weight, known.id_column)
    names = [name for name in table.column_names if name not in aside]
    if len(names) != 1:
        raise DataError(
            f"{source}: which of its {len(names)} columns holds the texts is not known.",
            remedy="The model did not learn from a table: give one column, or a list of texts.",
        )
    return str(names[0])


def _meta(like: Schema | None) -> TextMeta | None:
    return like.meta if like is not None and isinstance(like.meta, TextMeta) else None


def _ragged(samples: Values) -> Ragged:
    return samples if isinstance(samples, Ragged) else full(as_tensor(samples))


def _share(data: Dataset, token: int) -> float:
    tokens = _ragged(data.samples).flat
    return float((tokens == token).double().mean()) if len(tokens) else 0.0


def _alone(samples: Values, token: int) -> int:
    """How many texts are of nothing but this token."""
    ragged = _ragged(samples)
    first = ragged.lengths.cumsum(0) - ragged.lengths
    return int(((ragged.lengths == 1) & (ragged.flat[first] == token)).sum()) if len(ragged) else 0


def _check_tokens(samples: Values, vocabulary: int, source: str) -> None:
    tokens = _ragged(samples).flat
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        raise DataError(
            f"{source}: tokens run from {int(tokens.min())} to {int(tokens.max())}, and the"
            f" vocabulary has {vocabulary}.",
            remedy="Give texts, or tokens of the tokeniser that the model learnt with.",
        )


def _other_tokens(source: str, known: str) -> DataError:
    return DataError(
        f"{source}: was read by another tokeniser or vocabulary than {known}.",
        remedy="Give the texts themselves, so that they are read by the one that the model knows.",
    )
