"""When does learning from two views collapse? What the theory of linear networks says, and a run of it."""

import numpy as np

from tacita.audit.health import collapse_dynamics as dynamics

noise = 0.5  # variance of views about their sample, that of samples being 1
print(f"weight decay above {dynamics.largest_weight_decay(augmentation=noise):.3f}: all modes die")

print("\nweight decay   begins at p = 0.03, 0.15, 0.6; ends at   predicted")
p = np.array([0.03, 0.15, 0.6])
for decay in (0.02, 0.08, 0.2):
    flow = dynamics.mode_flow(p, p**2, [0.0, 5000.0], weight_decay=decay, augmentation=noise)
    points = dynamics.fixed_points(weight_decay=decay, augmentation=noise)
    said = "0" if points is None else f"0 below {points.threshold:.3f}, else {points.stable:.3f}"
    print(f"{decay:12}   {', '.join(f'{end:.3f}' for end in flow.p[-1]):38}   {said}")

print("\nall weights of 10 features: eigenvalues of the correlation after training")
rng = np.random.default_rng(0)
encoder, skew = rng.normal(size=(10, 10)) / 20**0.5, rng.normal(size=(10, 10)) / 10
for form in ("full", "no predictor", "no stop-gradient"):
    path = dynamics.matrix_flow(
        encoder,
        0.5 * np.eye(10) + (skew + skew.T) / 2,
        [0.0, 20.0, 150.0],
        samples=np.diag(np.linspace(0.5, 1.5, 10)),
        views=noise * np.eye(10),
        weight_decay=0.03,
        form=form,
    )
    s = np.linalg.eigvalsh(path.correlation[-1])
    print(f"{form:18} {s.min():.3f} to {s.max():.3f}")
    if form == "full":
        shares = ", ".join(f"{m:.0e}" for m in path.misalignment)
        print(f"    predictor and correlation come to share eigenvectors: {shares}")
