"""When does learning from two views collapse? What the theory of linear networks says, and a run of it."""

import numpy as np

from tacita.audit.collapse_dynamics import (
    fixed_points,
    largest_weight_decay,
    matrix_flow,
    mode_flow,
)

augmentation = 0.5  # variance of views about their sample, that of samples being 1
print(f"weight decay above {largest_weight_decay(augmentation=augmentation):.3f}: every mode dies")

print("\nweight decay   begins at p = 0.03 / 0.15 / 0.60, ends at   predicted")
for weight_decay in (0.02, 0.08, 0.2):
    begin = np.array([0.03, 0.15, 0.6])
    times = [0.0, 5000.0]
    flow = mode_flow(begin, begin**2, times, weight_decay=weight_decay, augmentation=augmentation)
    ends = " / ".join(f"{p:.3f}" for p in flow.p[-1])
    points = fixed_points(weight_decay=weight_decay, augmentation=augmentation)
    said = "0" if points is None else f"0 below {points.threshold:.3f}, else {points.stable:.3f}"
    print(f"{weight_decay:12}   {ends:42} {said}")

print(
    "\nall weights, 10 features: eigenvalues of the correlation after training, from 0.5 on average"
)
rng = np.random.default_rng(0)
encoder, noise = rng.normal(size=(10, 10)) / 20**0.5, rng.normal(size=(10, 10)) / 10
for form in ("full", "no predictor", "no stop-gradient"):
    path = matrix_flow(
        encoder,
        0.5 * np.eye(10) + (noise + noise.T) / 2,
        [0.0, 150.0],
        samples=np.eye(10),
        views=augmentation * np.eye(10),
        weight_decay=0.03,
        form=form,
    )
    s = np.linalg.eigvalsh(path.correlation[-1])
    print(f"{form:18} {s.min():.3f} to {s.max():.3f}")
    if form == "full":
        start, end = path.misalignment
        print(f"{'':18} predictor and correlation come to commute: {start:.2f} -> {end:.0e}")
