"""In-context reinforcement learning: resettable S5 learns tasks of memory as well as a GRU, or sooner."""

from __future__ import annotations

from collections.abc import Sequence

from tacita.apps.in_context_rl import InContextRL
from tacita.apps.in_context_rl.environments import Environment, HiddenVelocityPole, MemoryLength
from tacita.claim.check import Claim, Figures, run

COPIES = 64
LENGTH = 30
MEMORY_UPDATES = 40
POLE_UPDATES = 25
LEARNT = 0.5
"""Return above that without memory from which memory length counts as learnt."""

CLAIM = Claim(
    slug="in-context-rl",
    claim="A policy of S5 layers whose scan erases their state between episodes learns tasks that "
    "need memory, at least as well as one with a GRU.",
    baseline="the same policy with a GRU in place of S5, and without memory, at equal width, depth, "
    "updates and learning rate",
    data="memory length 30 (a cue to be named 30 steps later, return -1 to 1) and pole balancing "
    "without velocities (return 0 to 1): 64 copies, rollouts of 128 steps, 40 and 25 updates, "
    "evaluated on 200 episodes of other copies",
    criterion="memory length: S5 learns it (a return above that without memory by 0.5 or more) in every "
    "seed, so in no smaller share of the seeds than the GRU; pole: above that without memory in every seed",
    paper="bsuite memory length: S5 solves lengths where an LSTM fails; partially observed control: "
    "no worse than a GRU and several times faster",
    differs="327,680 and 204,800 steps rather than 15 million, one block 32 wide, learning rate 0.001. "
    "Memory length is learnt or not at all, so a mean return says little: shares of the seeds are compared, "
    "over ten, since over five (0 to 4) the GRU learnt once and over three others twice",
)


def measure(seed: int) -> Figures:
    """The same start, tasks and number of updates for each kind of memory."""
    figures = {}
    for name, layer in (("S5", "s5"), ("GRU", "gru"), ("no memory", None)):
        task: Environment = MemoryLength(COPIES, length=LENGTH, seed=seed)
        test: Environment = MemoryLength(200, length=LENGTH, seed=1000 + seed)
        figures[f"memory, {name}"] = _trained(task, test, layer, MEMORY_UPDATES, seed)
    for name in ("S5", "GRU"):
        learnt = figures[f"memory, {name}"] >= figures["memory, no memory"] + LEARNT
        figures[f"learnt, {name}"] = float(learnt)
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
    """Memory is needed in both tasks and learnt in every seed."""
    return all(f["learnt, S5"] == 1 and f["pole, S5"] > f["pole, no memory"] for f in figures)


if __name__ == "__main__":
    run(CLAIM, measure, judge)
