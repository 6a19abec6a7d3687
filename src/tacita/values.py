"""What samples and targets are made of: a tensor, values of unequal lengths, or graphs.

All three count, are taken by position and move to a device as tensors do (`len(values)`,
`values[positions]`, `values.to(device)`), and `cat` lays several end to end; so whatever hands
samples on need not ask of what kind they are. The data say how they batch: what `values[positions]`
gives is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import DataError

CONSTANT = 1e-14
"""Deviation, as a share of the mean, that is no more than what sums of 64 bits leave of a constant."""
LARGEST_NUMBER = 1e140
"""That a value or a target may be: its square, summed over any data set, still fits into 64 bits."""


_LARGEST_PADDED = 2**30
_PADDING = 20
"""Bytes, and times those of the values, beyond which samples are not padded to the longest."""


class Ragged:
    """Samples of unequal lengths: steps of series, tokens of texts, boxes of images.

    Kept end to end or padded, whichever they came as; the other form is made when it is first asked
    for. Padding is zeros.

    Shapes: `flat (sum of lengths, ...)`; `lengths (N,)` int64; `padded (N, longest, ...)`. `longest`
    is the padded length, which samples that are taken keep: encoders may have a place for each step.

    >>> words = Ragged(torch.tensor([7, 8, 9]), torch.tensor([2, 1]))
    >>> words.padded.tolist(), words[torch.tensor([1])].padded.tolist()
    ([[7, 8], [9, 0]], [[9, 0]])
    >>> Ragged.of(words.padded, words.lengths).flat.tolist()
    [7, 8, 9]

    Raises `DataError` where the lengths are not those of the values.
    """

    lengths: Tensor
    longest: int

    def __init__(self, flat: Tensor, lengths: Tensor, longest: int | None = None) -> None:
        most = int(lengths.max()) if len(lengths) else 0
        if int(lengths.sum()) != len(flat) or (longest is not None and longest < most):
            raise DataError(
                f"{len(flat)} values for lengths of {int(lengths.sum())} in all, the longest {most}.",
                remedy="Give the samples end to end, and the length of each.",
            )
        self.flat = flat
        self.lengths = lengths
        self.longest = most if longest is None else longest

    @classmethod
    def of(cls, padded: Tensor, lengths: Tensor) -> Ragged:
        """From `padded (N, L, ...)`, whose values beyond `lengths (N,)` should be zeros."""
        if lengths.shape != padded.shape[:1]:
            raise DataError(
                f"lengths has {len(lengths)} entries but there are {len(padded)} samples.",
                remedy="Give one length a sample.",
            )
        made = cls.__new__(cls)
        made.padded = padded
        made.lengths = lengths
        made.longest = padded.shape[1]
        return made

    @cached_property
    def flat(self) -> Tensor:
        return self.padded[self.mask]

    @cached_property
    def padded(self) -> Tensor:
        """`(N, longest, ...)`. Raises `DataError` where nearly all of it would be padding, and too much."""
        size = len(self) * self.longest * self.flat[:1].nbytes
        if size > _LARGEST_PADDED and size > _PADDING * self.flat.nbytes:
            raise DataError(
                f"{len(self)} samples of {len(self.flat)} values in all, the longest of"
                f" {int(self.lengths.max())}, would be padded to {size / 2**30:.1f} GiB.",
                remedy="Leave out the longest samples, or cut them into pieces.",
            )
        padded = self.flat.new_zeros(len(self), self.longest, *self.flat.shape[1:])
        padded[self.mask] = self.flat
        return padded

    @property
    def mask(self) -> Tensor:
        """`(N, longest)` bool, True where there is a value."""
        return length_mask(self.lengths, self.longest)

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return (self.padded if "padded" in vars(self) else self.flat).dtype

    @property
    def nbytes(self) -> int:
        """What the values take, without padding."""
        return self.flat.nbytes

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of one step."""
        return tuple(self.padded.shape[2:] if "padded" in vars(self) else self.flat.shape[1:])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, positions: Tensor) -> Ragged:
        if "padded" in vars(self):
            return Ragged.of(self.padded[positions], self.lengths[positions])
        positions = _places(positions)
        lengths = self.lengths[positions]
        return Ragged(self.flat[_rows(self.lengths, positions)], lengths, self.longest)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Ragged:
        """The same on another device, in the form it is in."""
        lengths = self.lengths.to(device, non_blocking=non_blocking)
        if "padded" in vars(self):
            return Ragged.of(self.padded.to(device, non_blocking=non_blocking), lengths)
        return Ragged(self.flat.to(device, non_blocking=non_blocking), lengths, self.longest)

    def widened(self, longest: int) -> Ragged:
        """The same, padded to a larger length."""
        if "padded" in vars(self):
            return Ragged.of(_widened(self.padded, longest), self.lengths)
        return Ragged(self.flat, self.lengths, longest)

    def with_padded(self, padded: Tensor) -> Ragged:
        """Other values of the same lengths, from `(N, L, ...)`."""
        return Ragged.of(padded, self.lengths)


class Graphs:
    """Several graphs as one that is not connected: nodes and edges end to end.

    Shapes: `nodes (V, F)`; `ends (2, E)` int64, from and to, counted within each graph; `node_counts`,
    `edge_counts (N,)` int64; `edges (E, K)`, what is known of each edge, or None.

    >>> pair = Graphs(torch.zeros(3, 1), torch.tensor([[0], [1]]), torch.tensor([1, 2]), torch.tensor([0, 1]))
    >>> pair.links.tolist(), pair.owner.tolist(), len(pair[torch.tensor([1])].nodes)
    ([[1], [2]], [0, 1, 1], 2)

    Raises `DataError` where the counts are not those of the nodes and edges, or an end is no node.
    """

    def __init__(
        self,
        nodes: Tensor,
        ends: Tensor,
        node_counts: Tensor,
        edge_counts: Tensor,
        edges: Tensor | None = None,
    ) -> None:
        counted = (
            node_counts.shape == edge_counts.shape
            and int(node_counts.sum()) == len(nodes)
            and ends.shape == (2, int(edge_counts.sum()))
            and (edges is None or len(edges) == ends.shape[1])
        )
        if not counted:
            raise DataError(
                f"{len(nodes)} nodes and {ends.shape[-1]} edges are not as many as are counted.",
                remedy="Give the nodes and edges of all graphs end to end, and the counts of each.",
            )
        within = node_counts.repeat_interleave(edge_counts)
        if ends.numel() and not bool(((ends >= 0) & (ends < within)).all()):
            raise DataError("an edge ends at a node that its graph does not have.")
        self.nodes = nodes
        self.ends = ends
        self.node_counts = node_counts
        self.edge_counts = edge_counts
        self.edges = edges

    @property
    def owner(self) -> Tensor:
        """`(V,)`: the graph that each node belongs to."""
        return torch.arange(len(self), device=self.nodes.device).repeat_interleave(self.node_counts)

    @property
    def links(self) -> Tensor:
        """`(2, E)`: the ends of each edge, counted over all nodes."""
        before = self.node_counts.cumsum(0) - self.node_counts
        return self.ends + before.repeat_interleave(self.edge_counts)

    @property
    def dtype(self) -> torch.dtype:
        """Of the nodes."""
        return self.nodes.dtype

    @property
    def nbytes(self) -> int:
        """What nodes and edges take."""
        return self.nodes.nbytes + self.ends.nbytes

    def __len__(self) -> int:
        return len(self.node_counts)

    def __getitem__(self, positions: Tensor) -> Graphs:
        positions = _places(positions)
        kept = _rows(self.edge_counts, positions)
        return Graphs(
            self.nodes[_rows(self.node_counts, positions)],
            self.ends[:, kept],
            self.node_counts[positions],
            self.edge_counts[positions],
            None if self.edges is None else self.edges[kept],
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Graphs:
        """The same on another device."""
        moved = [
            None if part is None else part.to(device, non_blocking=non_blocking)
            for part in (self.nodes, self.ends, self.node_counts, self.edge_counts, self.edges)
        ]
        return Graphs(*cast("tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]", tuple(moved)))


Values: TypeAlias = Tensor | Ragged | Graphs
"""Samples or targets, one after the other along their first axis."""


def cat(parts: Sequence[Values]) -> Values:
    """Values of one kind end to end; tensors of other lengths than ragged ones join these.

    Raises `DataError` for kinds that do not go together.

    >>> cat([torch.zeros(1, 3), Ragged(torch.ones(2), torch.tensor([2]))]).lengths.tolist()
    [3, 2]
    """
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(cast("list[Tensor]", list(parts)))
    if all(isinstance(part, Graphs) for part in parts):
        graphs = cast("Sequence[Graphs]", parts)
        edges = [part.edges for part in graphs if part.edges is not None]
        return Graphs(
            torch.cat([part.nodes for part in graphs]),
            torch.cat([part.ends for part in graphs], 1),
            torch.cat([part.node_counts for part in graphs]),
            torch.cat([part.edge_counts for part in graphs]),
            torch.cat(edges) if edges else None,
        )
    if any(isinstance(part, Graphs) for part in parts):
        raise DataError("graphs cannot stand in one batch with samples that are none.")
    ragged = [part if isinstance(part, Ragged) else full(cast(Tensor, part)) for part in parts]
    longest = max(part.longest for part in ragged)
    lengths = torch.cat([part.lengths for part in ragged])
    if all("padded" in vars(part) for part in ragged):
        return Ragged.of(torch.cat([_widened(part.padded, longest) for part in ragged]), lengths)
    return Ragged(torch.cat([part.flat for part in ragged]), lengths, longest)


def full(padded: Tensor) -> Ragged:
    """`(N, L, ...)` samples that are all of the padded length."""
    lengths = torch.full((len(padded),), padded.shape[1], device=padded.device)
    return Ragged.of(padded, lengths)


def as_tensor(values: Values) -> Tensor:
    """Samples as one tensor, padded with zeros where their lengths differ.

    Raises `DataError` for graphs, which no tensor holds.
    """
    if isinstance(values, Tensor):
        return values
    if isinstance(values, Ragged):
        return values.padded
    raise DataError("graphs are no tensor.", remedy="Read them with an encoder of graphs.")


def lengths_of(values: Values) -> Tensor | None:
    """`(N,)`, where lengths differ."""
    return values.lengths if isinstance(values, Ragged) else None


def count_of(values: Ragged | Graphs) -> Tensor:
    """`(N,)`: how much each sample holds: its length, or its nodes."""
    return values.lengths if isinstance(values, Ragged) else values.node_counts


def shape_of(values: Values) -> tuple[int, ...]:
    """The shape of one sample: of ragged ones as if padded, of graphs that of a node."""
    if isinstance(values, Graphs):
        return tuple(values.nodes.shape[1:])
    if isinstance(values, Ragged):
        return values.longest, *values.inner
    return tuple(values.shape[1:])


def with_tensor(values: Values, x: Tensor) -> Values:
    """Other values `x` in the place of these: of the same lengths, where there are lengths."""
    return values.with_padded(x) if isinstance(values, Ragged) else x


def length_mask(lengths: Tensor, length: int) -> Tensor:
    """`(B,)` lengths to a `(B, L)` mask, True = valid.

    >>> length_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(length, device=lengths.device) < lengths[:, None]


def prefix_lengths(mask: Tensor) -> Tensor:
    """`(B,)` lengths of a `(B, L)` mask, True = valid; the inverse of `length_mask`.

    Raises `DataError` where something valid comes after something that is not, as in texts that are
    padded on the left.

    >>> prefix_lengths(torch.tensor([[True, False, False], [True, True, True]])).tolist()
    [1, 3]
    """
    lengths = mask.sum(1)
    if torch.compiler.is_compiling():
        return lengths
    late = (mask != length_mask(lengths, mask.shape[1])).any(1)
    if bool(late.any()):
        raise DataError(
            f"in sample {int(late.nonzero()[0])} of the batch padding comes before or among valid steps.",
            remedy="Move the valid steps of each sample to the front, and pad at the end.",
        )
    return lengths


def _places(positions: Tensor) -> Tensor:
    return positions.nonzero().squeeze(1) if positions.dtype == torch.bool else positions


def _rows(lengths: Tensor, positions: Tensor) -> Tensor:
    """Where the values of the samples at `positions` lie, end to end."""
    starts = lengths.cumsum(0) - lengths
    taken = lengths[positions]
    before = taken.cumsum(0) - taken
    shift = (starts[positions] - before).repeat_interleave(taken)
    return torch.arange(len(shift), device=lengths.device) + shift


def _widened(padded: Tensor, longest: int) -> Tensor:
    if padded.shape[1] == longest:
        return padded
    return functional.pad(padded, (0, 0) * (padded.ndim - 2) + (0, longest - padded.shape[1]))
