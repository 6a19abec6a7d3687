"""What goes wrong in a predictor set from its inputs: eigenvectors on the wrong side, an average that
forgets the wrong share, a weight that is trained after all, or a state that a checkpoint lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tacita.engine.optimizer import build_optimizer
from tacita.errors import ConfigError
from tacita.parts.direct_predictor import (
    LEAST,
    RULES,
    DirectPredictor,
    copy_rule,
    correlation_of,
    diagonal_rule,
    root_rule,
)
from tests.helpers import assert_close

every_rule = pytest.mark.parametrize("rule", list(RULES))


def rows(count: int = 40, dim: int = 6, seed: int = 0) -> Tensor:
    """Embeddings in float64 whose features differ in size and are correlated."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return z @ torch.randn(dim, dim, generator=generator, dtype=torch.float64) + 0.5


def rotation(dim: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64)).Q


def by_hand(z: np.ndarray, epsilon: float) -> np.ndarray:
    """The paper's rule by the singular values of the embeddings and not by their correlation."""
    _, sigma, directions = np.linalg.svd(z, full_matrices=True)
    p = np.zeros(z.shape[1])
    p[: len(sigma)] = sigma / sigma[0]
    return sum((p[j] + epsilon) * np.outer(directions[j], directions[j]) for j in range(len(p)))


def test_the_root_rule_is_the_paper_s():
    z = rows()
    assert_close(root_rule(correlation_of(z), 0.1), torch.from_numpy(by_hand(z.numpy(), 0.1)))


def test_fewer_samples_than_features_leave_dead_directions_at_epsilon():
    z = rows(count=3)
    weight = root_rule(correlation_of(z), 0.1)
    assert_close(weight, torch.from_numpy(by_hand(z.numpy(), 0.1)))
    assert torch.linalg.eigvalsh(weight)[0].item() == pytest.approx(0.1, abs=1e-6)


@given(
    st.integers(1, 8),
    st.integers(1, 12),
    st.floats(0, 0.5),
    st.floats(-3, 3),
    st.integers(0, 1000),
)
def test_the_predictor_is_symmetric_positive_and_shares_eigenvectors(
    dim, count, epsilon, power, seed
):
    f = correlation_of(10**power * rows(count, dim, seed))
    weight = root_rule(f, epsilon)
    assert_close(weight, weight.T)
    p = torch.linalg.eigvalsh(weight)
    assert p[-1].item() == pytest.approx(1 + epsilon, rel=1e-9)
    assert p[0] >= max(epsilon, LEAST) - 1e-9
    commutator = f @ weight - weight @ f
    assert commutator.norm() <= 1e-6 * f.norm() * weight.norm()


def test_copy_is_the_root_rule_without_the_root():
    f = correlation_of(rows())
    s, u = np.linalg.eigh(f.numpy())
    expected = u @ np.diag(s / s.max() + 0.1) @ u.T
    assert_close(copy_rule(f, 0.1), torch.from_numpy(expected))


def test_the_diagonal_rule_has_the_roots_of_the_diagonal_and_nothing_beside_it():
    weight = diagonal_rule(correlation_of(rows()), 0.1)
    power = rows().square().mean(0)
    assert_close(weight.diagonal(), (power / power.max()).sqrt() + 0.1)
    assert torch.equal(weight, weight.diagonal().diag())


@pytest.mark.parametrize("rule", [root_rule, copy_rule])
def test_turned_features_have_a_turned_predictor(rule):
    z, turn = rows(), rotation()
    expected = turn @ rule(correlation_of(z), 0.1) @ turn.T
    assert_close(rule(correlation_of(z @ turn.T), 0.1), expected)


def test_the_diagonal_rule_depends_on_the_axes():
    z, turn = rows(), rotation()
    turned = turn @ diagonal_rule(correlation_of(z), 0.1) @ turn.T
    assert (diagonal_rule(correlation_of(z @ turn.T), 0.1) - turned).abs().max() > 0.1


@every_rule
def test_scale_does_not_matter(rule):
    expected = RULES[rule](correlation_of(rows()), 0.1)
    assert_close(RULES[rule](correlation_of(1e3 * rows()), 0.1), expected)
    assert_close(RULES[rule](correlation_of(1e-3 * rows()), 0.1), expected)


@every_rule
def test_white_features_have_a_multiple_of_the_identity(rule):
    weight = RULES[rule](3 * torch.eye(4), 0.1)
    assert_close(weight, 1.1 * torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize("rule", [root_rule, copy_rule])
def test_one_direction_has_one_large_eigenvalue(rule):
    v = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64) / 3
    weight = rule(torch.outer(v, v), 0.1)
    assert_close(weight, torch.outer(v, v) + 0.1 * torch.eye(3, dtype=torch.float64))


@every_rule
def test_features_that_are_all_zero_leave_epsilon(rule):
    assert_close(RULES[rule](torch.zeros(3, 3), 0.1), 0.1 * torch.eye(3, dtype=torch.float64))


def test_no_eigenvalue_is_zero_without_epsilon():
    weight = root_rule(torch.diag(torch.tensor([1.0, 0.0])), 0.0)
    assert weight.diagonal().tolist() == [1.0, LEAST]


def test_the_correlation_is_uncentred_unless_it_is_asked_for():
    z = rows()
    assert_close(correlation_of(z), torch.from_numpy(z.numpy().T @ z.numpy() / len(z)))
    expected = torch.from_numpy(np.cov(z.numpy(), rowvar=False, ddof=0))
    assert_close(correlation_of(z, centred=True), expected)


def test_a_constant_direction_counts_uncentred_only():
    z = torch.tensor([[5.0, 1.0], [5.0, -1.0]])
    assert_close(correlation_of(z), torch.diag(torch.tensor([25.0, 1.0])))
    assert_close(correlation_of(z, centred=True), torch.diag(torch.tensor([0.0, 1.0])))
    seen, centred = DirectPredictor(2), DirectPredictor(2, centred=True)
    seen.update(z, 0)
    centred.update(z, 0)
    assert_close(seen.weight, torch.diag(torch.tensor([1.1, 0.3])))
    assert_close(centred.weight, torch.diag(torch.tensor([0.1, 1.1])))


def test_the_correlation_is_float32_under_reduced_precision():
    z = rows(64).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = correlation_of(z)
    assert torch.equal(inside, correlation_of(z))
    assert correlation_of(z.bfloat16()).dtype == torch.float32


def test_the_average_keeps_the_share_of_its_momentum():
    predictor = DirectPredictor(6, momentum=0.3).double()
    first, second = rows(seed=1), rows(seed=2)
    predictor.update(first, 0)
    assert_close(predictor.weight, root_rule(correlation_of(first), 0.1))
    predictor.update(second, 1)
    f = 0.3 * 0.7 * correlation_of(first) + 0.7 * correlation_of(second)
    assert_close(predictor.correlation, f)
    assert_close(predictor.weight, root_rule(f, 0.1))


def test_without_momentum_the_last_batch_alone_counts():
    predictor = DirectPredictor(6, momentum=0.0).double()
    predictor.update(rows(seed=1), 0)
    predictor.update(rows(seed=2), 1)
    assert_close(predictor.correlation, correlation_of(rows(seed=2)))


@every_rule
def test_the_rule_that_is_named_is_the_one_in_force(rule):
    predictor = DirectPredictor(6, rule=rule, epsilon=0.2).double()
    predictor.update(rows(), 0)
    assert_close(predictor.weight, RULES[rule](correlation_of(rows()), 0.2))


def test_it_is_linear_and_begins_as_the_identity():
    predictor, z = DirectPredictor(6).double(), rows()
    assert torch.equal(predictor(z), z)
    predictor.update(z, 0)
    assert_close(predictor(z), z @ predictor.weight.T)
    assert_close(predictor(torch.zeros(1, 6, dtype=torch.float64)), torch.zeros(1, 6).double())


def test_no_optimiser_gets_a_weight_that_is_set_every_step():
    module = nn.ModuleList([nn.Linear(6, 6), DirectPredictor(6)])
    given_ = [p for g in build_optimizer(module, "sgd", 0.1, 0.1).param_groups for p in g["params"]]
    assert {id(p) for p in given_} == {id(p) for p in module[0].parameters()}


def test_between_its_turns_the_weight_is_trained():
    predictor = DirectPredictor(6, every=2)
    optimiser = torch.optim.SGD(predictor.parameters(), lr=0.1)
    z = rows().float()
    kept = []
    for step in range(3):
        optimiser.zero_grad()
        (predictor(z) - 1).square().mean().backward()
        optimiser.step()
        trained = predictor.weight.detach().clone()
        predictor.update(z, step)
        kept.append(torch.equal(predictor.weight, trained))
    assert kept == [False, True, False]
    assert_close(predictor.weight.detach(), root_rule(predictor.correlation, 0.1).float())


@pytest.mark.parametrize("every", [1, 3])
def test_a_state_that_is_put_back_goes_on_as_it_would_have(every):
    whole = DirectPredictor(6, every=every)
    for step in range(4):
        whole.update(rows(seed=step).float(), step)
    resumed = DirectPredictor(6, every=every)
    resumed.load_state_dict(whole.state_dict())
    for step in range(4, 8):
        whole.update(rows(seed=step).float(), step)
        resumed.update(rows(seed=step).float(), step)
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.correlation, whole.correlation)


@pytest.mark.parametrize(
    "options",
    [{"rule": "cube"}, {"epsilon": -0.1}, {"momentum": 1.0}, {"momentum": -0.1}, {"every": 0}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        DirectPredictor(4, **options)


def test_embeddings_that_are_not_finite_leave_the_weight_as_it_is():
    predictor, z = DirectPredictor(6), rows().float()
    predictor.update(z, 0)
    before = predictor.weight.clone()
    z[3, 2] = torch.nan
    predictor.update(z, 1)
    assert torch.equal(predictor.weight, before)


PROCESS = """
import sys, torch
from tacita.parts.direct_predictor import DirectPredictor
from tacita.processes import sharing
rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
predictor = DirectPredictor(6, centred=True).double()
z = torch.load(f"{out}/z.pt", weights_only=True)
with sharing():
    predictor.update(z[20 * rank : 20 * (rank + 1)], 0)
torch.save(predictor.weight, f"{out}/{rank}.pt")
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_several_processes_take_the_correlation_of_all_samples(tmp_path: Path):
    torch.save(rows(40), tmp_path / "z.pt")
    command = [sys.executable, "-c", PROCESS]
    runs = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store"), str(tmp_path)])
        for rank in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    expected = root_rule(correlation_of(rows(40), centred=True), 0.1)
    for rank in range(2):
        assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), expected)
