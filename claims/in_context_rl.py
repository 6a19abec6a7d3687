"""In-context reinforcement learning: resettable S5 learns tasks of memory as well as a GRU, or sooner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.apps.in_context_rl import InContextRL
from tacita.apps.in_context_rl.environments import Environment, HiddenVelocityPole, MemoryLength
from tacita.claim.check import Claim, Figures, run

COPIES = 64
LENGTH = 30
MEMORY_UPDATES = 40
POLE_UPDATES = 25

CLAIM = Claim(
    slug="in-context-rl",
    claim="A policy of S5 layers whose scan erases their state between episodes learns tasks that "
    "need memory, at least as well as one with a GRU.",
    baseline="the same policy with a GRU in place of S5, and without memory, at equal width, depth, "
    "updates and learning rate",
    data="memory length 30 (a cue to be named 30 steps later, return -1 to 1) and pole balancing "
    "without velocities (return 0 to 1): 64 copies, rollouts of 128 steps, 40 and 25 updates, "
    "evaluated on 200 episodes of other copies",
    criterion="memory length: S5's return above that without memory by 0.5 or more in every seed, and "
    "on average no worse than the GRU's; pole: above that without memory in every seed",
    paper="bsuite memory length: S5 solves lengths where an LSTM fails; partially observed control: "
    "no worse than a GRU and several times faster",
    differs="327,680 and 204,800 steps rather than 15 million, one block 32 wide, learning rate "
    "0.001; seeds 0 and 1 were looked at before the criterion was written",
)


def measure(seed: int) -> Figures:
    """The same start, tasks and number of updates for each kind of memory."""
    figures = {}
    for name, layer in (("S5", "s5"), ("GRU", "gru"), ("no memory", None)):
        task: Environment = MemoryLength(COPIES, length=LENGTH, seed=seed)
        test: Environment = MemoryLength(200, length=LENGTH, seed=1000 + seed)
        figures[f"memory, {name}"] = _trained(task, test, layer, MEMORY_UPDATES, seed)
    for name, layer in (("S5", "s5"), ("no memory", None)):
        task = HiddenVelocityPole(COPIES, seed=seed)
        test = HiddenVelocityPole(200, seed=1000 + seed)
        figures[f"pole, {name}"] = _trained(task, test, layer, POLE_UPDATES, seed)
    return figures


def _trained(
    task: Environment, test: Environment, layer: str | None, updates: int, seed: int
) -> float:
    agent = InContextRL(layer=layer, d_model=32, depth=1, rollout=128, seed=seed)
    return agent.fit(environment=task, updates=updates).evaluate(test)


def judge(figures: Sequence[Figures]) -> bool:
    """Memory is needed and learnt in every seed, and S5 is no worse than the GRU on average."""
    learnt = all(f["memory, S5"] >= f["memory, no memory"] + 0.5 for f in figures)
    balanced = all(f["pole, S5"] > f["pole, no memory"] for f in figures)
    gain = np.mean([f["memory, S5"] - f["memory, GRU"] for f in figures])
    return learnt and balanced and bool(gain >= 0)


if __name__ == "__main__":
    run(CLAIM, measure, judge)
