"""A table with missing cells and text columns: compare what a forest and a network make of it."""

import numpy as np
import pandas as pd

import tacita

rng = np.random.default_rng(0)
rows = 300
table = pd.DataFrame(
    {
        "temperature": rng.normal(60, 5, rows),
        "pressure": rng.normal(2, 0.3, rows),
        "material": rng.choice(["steel", "brass"], rows),
    }
)
worn = table["temperature"] + 10 * (table["material"] == "brass") > 65
table["state"] = np.where(worn, "worn", "ok")
truth = table["state"].copy()
table.loc[60:, "state"] = None  # sixty labels are known
table.loc[::9, "pressure"] = np.nan

model = tacita.compare(
    table,
    ["logistic-regression", "random-forest", "supervised"],
    labels="state",
    missing="impute",
    budget="3s",
    quiet=True,
)
print(model, "predicts", model.predict(table[:5]))
for row in model.metrics.leaderboard:
    scored = row.mean is not None  # A busy machine may leave no time for all of them.
    print(f"{row.name:20}", f"{row.mean:.1%} +- {row.std:.1%}" if scored else row.error)
