"""The tasks' own rules, the advantages, and that training in parallel sees what acting saw."""

from __future__ import annotations

import gymnasium
import pytest
import torch
from torch import Tensor

from tacita.apps.in_context_rl import InContextRL, advantages
from tacita.apps.in_context_rl.environments import (
    Environment,
    HiddenVelocityPole,
    MemoryLength,
    Scrambled,
)
from tacita.errors import ConfigError
from tests.helpers import assert_close


def actions_of(task: Environment, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(task.actions, (task.count,), generator=generator)


def test_the_cue_is_seen_once_and_asked_for_at_the_end() -> None:
    task = MemoryLength(50, length=4)
    seen = task.start()
    cue = seen[:, 2]
    assert set(cue.tolist()) == {-1.0, 1.0}
    for time in range(1, 5):
        seen, reward, ended = task.step(actions_of(task, time))
        assert (seen[:, 2] == 0).all()
        assert (reward == 0).all()
        assert not ended.any()
        assert (seen[:, 1] == float(time == 4)).all()
        assert_close(seen[:, 0], torch.full((50,), 1 - time / 4))
    answer = actions_of(task, 9)
    seen, reward, ended = task.step(answer)
    assert ended.all()
    assert torch.equal(reward, ((answer * 2 - 1) == cue).float() * 2 - 1)
    assert (seen[:, 0] == 1).all()  # the next episode has begun
    assert (seen[:, 2] != 0).all()


def test_the_pole_falls_as_gymnasiums_does() -> None:
    peer = gymnasium.make("CartPole-v1").unwrapped
    peer.reset(seed=0)
    task = HiddenVelocityPole(1)
    physics = torch.as_tensor(peer.state, dtype=torch.float64)[None]
    for time in range(60):
        action = time * 7 % 5 % 2
        physics = task.moved(physics, torch.tensor([action]))
        state, _, fallen, _, _ = peer.step(action)
        torch.testing.assert_close(physics[0], torch.tensor(peer.state, dtype=torch.float64))
        if fallen:
            break
    assert fallen
    assert abs(state[0]) > task.edge or abs(state[2]) > task.tilt


def test_velocities_are_hidden_and_a_perfect_episode_is_worth_1() -> None:
    task = HiddenVelocityPole(20, limit=15)
    seen = task.start()
    assert seen.shape == (20, 2)
    total, whole = torch.zeros(20), torch.ones(20, dtype=torch.bool)
    for time in range(15):
        seen, reward, ended = task.step(torch.full((20,), time % 2))  # swaying stays up so long
        total += reward
        whole &= ~ended | (time == 14)
    assert whole.all()
    assert ended.all()
    assert_close(total, torch.ones(20))


def test_a_scrambled_episode_is_several_trials_under_one_projection() -> None:
    inner = MemoryLength(30, length=1)
    task = Scrambled(inner, size=5, trials=3)
    task.start()
    assert_close(
        task.projection.mT @ task.projection, 2 * torch.eye(3).expand(30, 3, 3).contiguous()
    )
    projection, order = task.projection, task.order
    flipped = (order == torch.tensor([1, 0])).all(1)
    assert 0 < flipped.sum() < 30
    rewards = []
    for trial in range(3):
        cue = inner.cue.clone()
        assert torch.equal(task.projection, projection)
        task.step(actions_of(task, trial))
        meant = (cue > 0).long()
        seen, reward, ended = task.step(torch.where(flipped, 1 - meant, meant))
        rewards.append(reward)
        assert (seen[:, -1] == float(trial < 2)).all()
        assert ended.all() == (trial == 2)
    assert_close(torch.stack(rewards).sum(0), torch.ones(30))
    assert not torch.equal(task.projection, projection)


def test_a_seed_fixes_an_environment() -> None:
    def play(seed: int) -> Tensor:
        task = Scrambled(HiddenVelocityPole(4, limit=9, seed=seed), seed=seed)
        task.start()
        return torch.cat([task.step(actions_of(task, t)).observation for t in range(30)])

    assert torch.equal(play(0), play(0))
    assert not torch.equal(play(0), play(1))


def test_advantages_are_the_sums_of_their_definition() -> None:
    torch.manual_seed(0)
    reward, value = torch.randn(2, 3, 9, dtype=torch.float64)
    last, ended = torch.randn(3, dtype=torch.float64), torch.rand(3, 9) < 0.3
    expected = torch.zeros(3, 9, dtype=torch.float64)
    for row in range(3):
        following, ahead = 0.0, float(last[row])
        for t in reversed(range(9)):
            going = float(~ended[row, t])
            surprise = reward[row, t] + 0.9 * going * ahead - value[row, t]
            following = surprise + 0.9 * 0.8 * going * following
            expected[row, t], ahead = following, float(value[row, t])
    assert_close(advantages(reward, value, last, ended, 0.9, 0.8), expected)


@pytest.mark.parametrize("layer", ["s5", "gru", "attention", None])
def test_training_in_parallel_sees_what_acting_saw(layer: str | None) -> None:
    agent = InContextRL(layer=layer, d_model=16, depth=2, rollout=23, minibatches=2)
    agent.fit(environment=MemoryLength(6, length=4), updates=0)
    agent._collect()  # so that the next rollout starts in the middle of episodes
    rollout = agent._collect()
    assert rollout.starts.any(1).all()
    assert not rollout.starts[:, 0].all()
    logits, value = agent.policy_(rollout.x, rollout.state, rollout.starts)
    chosen = logits.log_softmax(-1).gather(2, rollout.action[..., None])[..., 0]
    assert_close(chosen, rollout.log_probability)
    assert_close(value, rollout.value)


@pytest.mark.long
def test_a_policy_with_memory_learns_what_one_without_cannot() -> None:
    def final(layer: str | None) -> float:
        task = MemoryLength(64, length=4)
        agent = InContextRL(layer=layer, d_model=16, depth=1, rollout=64, learning_rate=3e-3)
        agent.fit(environment=task, updates=25)
        return agent.evaluate(MemoryLength(200, length=4, seed=1))

    assert final("s5") > 0.9
    assert abs(final(None)) < 0.3


def test_a_seed_fixes_a_run_and_updates_add_up() -> None:
    def run(*parts: int) -> tuple[list[float], list[int]]:
        agent = InContextRL(d_model=16, depth=1, rollout=8, seed=3)
        agent.fit(environment=MemoryLength(8, length=3), updates=parts[0])
        for part in parts[1:]:
            agent.go_on(part)
        return [u.policy_loss for u in agent.history_], [u.steps for u in agent.history_]

    assert run(3) == run(1, 2)
    assert run(3)[1] == [64, 128, 192]


def test_what_cannot_work_is_refused() -> None:
    task = MemoryLength(4, length=3)
    with pytest.raises(ConfigError, match="minibatches=5 of 4"):
        InContextRL(minibatches=5).fit(environment=task, updates=1)
    with pytest.raises(ConfigError, match="no method 's55'; did you mean s5"):
        InContextRL(layer="s55").fit(environment=task, updates=1)
    with pytest.raises(ConfigError, match="discount"):
        InContextRL(discount=1.5)
    with pytest.raises(ConfigError, match="length=0"):
        MemoryLength(4, length=0)
    with pytest.raises(ConfigError, match="an action is 4 whole numbers"):
        task.step(torch.zeros(3, dtype=torch.long))
