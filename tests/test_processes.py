"""What processes share is that of the whole batch, in its order; alone, nothing is done."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.nn import functional

from tacita.data.batch import Batch, of_all
from tacita.engine.as_one import as_one, batch_norm
from tacita.parts.batch_norm import ValidBatchNorm
from tacita.processes import (
    alike,
    gathered,
    kinds,
    mean_of,
    own,
    processes,
    rand,
    randn,
    randperm,
    sharing,
    undrawn,
    uneven,
)
from tacita.values import Ragged
from tests.helpers import assert_close

CPU = torch.device("cpu")
ROWS = 8


def whole(seed: int = 0, *shape: int) -> Tensor:
    """`(8, ...)` numbers of a whole batch, whose mean is far from 0."""
    generator = torch.Generator().manual_seed(seed)
    return 50 + torch.randn(ROWS, *(shape or (3,)), generator=generator, dtype=torch.float64)


def trained(layer: nn.Module, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """What a layer makes of the whole batch, the slopes of a loss over it, and what the layer keeps."""
    x = x.clone().requires_grad_()
    y = layer(x) if mask is None else layer(x, mask).masked_fill(~mask[:, None], 0)
    # The mean over a process's own samples, in which no two samples and features count the same.
    cost = y.pow(3).flatten(1) @ torch.linspace(-1, 2, y[0].numel(), dtype=y.dtype)
    (cost * own(torch.arange(ROWS))).mean().backward()
    kept = [*(p.grad for p in layer.parameters()), *layer.buffers()]
    kept = [gathered(value[None].double()).mean(0) for value in kept if value is not None]
    return [gathered(y.detach()), gathered(x.grad) / processes(), *kept]


def of_gather() -> list[Tensor]:
    x = own(whole()).requires_grad_()
    everyone = gathered(x)
    (everyone.pow(2) * torch.arange(ROWS)[:, None]).sum().backward()
    flags = gathered(own(whole()[:, 0] > 50))
    return [everyone.detach(), gathered(x.grad) / processes(), flags]


def of_means() -> list[Tensor]:
    count = own(torch.tensor([1, 0, 0, 0, 2, 1, 3, 0]))
    total = own(torch.arange(ROWS).double())
    part = mean_of((total * count).sum(), count.sum())
    none = mean_of(0 * total.sum(), 0 * count.sum())
    return [gathered(part[None]).mean(), none]


def of_draws() -> list[Tensor]:
    size = ROWS // processes()
    if processes() > 1:
        torch.rand(3)  # what a process draws for itself moves nothing that is shared
    draws = [rand(size, 2), rand(2, size, dim=1).T, randn(size, like=whole())]
    with undrawn(CPU):
        draws.append(rand(size))
    draws += [rand(size), own(randperm(size))]
    with alike():
        same = torch.rand(2)
    with kinds(size // 4, size - size // 4):
        labelled, others = rand(size, 1).split([size // 4, size - size // 4])
    return [*map(gathered, [*draws, labelled, others]), same]


def of_uneven() -> list[Tensor]:
    mine = own(torch.tensor([1, 1, 1, 0, 0, 1, 0, 0])) > 0
    out = torch.zeros(len(mine))
    with uneven(int(mine.sum()), CPU) as total:
        out[mine] = rand(int(mine.sum()))
    return [gathered(out), torch.tensor(total)]


def of_norms() -> list[Tensor]:
    found = []
    for layer, shape in ((nn.BatchNorm1d(3), (3,)), (nn.BatchNorm2d(4, momentum=None), (4, 2, 4)),
                         (nn.BatchNorm1d(3, affine=False, track_running_stats=False), (3,))):  # fmt: skip
        layer = layer.double()
        found += trained(layer, own(whole(0, *shape)))
    found.append(nn.BatchNorm1d(3).eval()(whole().float()))
    return found


def of_valid_norm() -> list[Tensor]:
    mask = own(torch.arange(4) < torch.tensor([1, 4, 0, 2, 0, 0, 0, 0])[:, None])
    layer = ValidBatchNorm(3).double()
    return trained(layer, own(whole(0, 3, 4)), mask)


def of_dropout() -> list[Tensor]:
    x = own(whole())
    return [gathered(nn.Dropout(0.5)(x)), gathered(nn.Dropout(0.5, inplace=True)(x.clone()))]


def of_batches() -> list[Tensor]:
    samples = Ragged.of(own(whole(0, 4, 2)), own(torch.tensor([1, 4, 2, 3, 4, 1, 2, 2])))
    batch = of_all(Batch(samples, own(torch.arange(ROWS)), own(torch.arange(ROWS))))
    assert batch.lengths is not None
    return [batch.x, batch.lengths, batch.y, batch.index]


SHARED: dict[str, Callable[[], list[Tensor]]] = {
    check.__name__: check
    for check in (of_gather, of_means, of_draws, of_uneven, of_norms, of_valid_norm, of_dropout,
                  of_batches)
}  # fmt: skip


def found() -> dict[str, list[Tensor]]:
    results = {}
    for name, check in SHARED.items():
        torch.manual_seed(5)
        with as_one(5):
            results[name] = check()
    return results


def process(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(found(), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(process, (port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_have_what_one_has(name: str, of_two: list[dict[str, list[Tensor]]]) -> None:
    expected = found()[name]
    for several in of_two:
        assert len(several[name]) == len(expected)
        for mine, alone in zip(several[name], expected, strict=True):
            assert_close(mine, alone)


def test_outside_of_it_each_works_alone() -> None:
    assert processes() == 1
    x = whole()
    assert gathered(x) is x
    with sharing():
        assert own(x) is x


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 2, 2)])
def test_a_batch_norm_of_one_process_is_the_plain_one(shape: tuple[int, ...]) -> None:
    x, weight, bias = whole(1, *shape), torch.rand(3).double(), torch.rand(3).double()
    running = [torch.zeros(3).double(), torch.ones(3).double()]
    expected_running = [value.clone() for value in running]
    got = batch_norm(x, *running, weight, bias, True, 0.3, 1e-3)
    expected = functional.batch_norm(x, *expected_running, weight, bias, True, 0.3, 1e-3)
    assert_close(got, expected)
    assert_close(running[0], expected_running[0])
    assert_close(running[1], expected_running[1])
    assert batch_norm(x.bfloat16(), None, None, training=True).dtype == torch.bfloat16
