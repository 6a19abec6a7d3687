"""Series of unequal lengths: pretrain an encoder on all of them, then fine-tune it on a few labels."""

import numpy as np

import tacita

rng = np.random.default_rng(0)


def movement(kind: int) -> np.ndarray:
    """Two channels, 20 to 40 steps: slow or fast turning, with noise."""
    time = np.arange(rng.integers(20, 41)) * (0.3, 0.6)[kind]
    turn = np.stack([np.sin(time), np.cos(time)], 1)
    return (turn + 0.5 * rng.normal(size=turn.shape)).astype("float32")


kinds = rng.integers(0, 2, 400)
series = [movement(kind) for kind in kinds]
labels = [("slow", "fast")[kind] if number < 16 else None for number, kind in enumerate(kinds)]

encoder = tacita.pretrain("barlow-twins", series[:300], steps=30, batch_size=32, quiet=True)
model = tacita.adapt("fine-tune", series[:300], labels[:300], start=encoder, steps=30, quiet=True)

truth = [("slow", "fast")[kind] for kind in kinds[300:]]
print("predicted", model.predict(series[300:305]), "true", truth[:5])
print(model.evaluate(series[300:], truth))
