"""AutoGluon on one table, by an interpreter that has it and need not have tacita.

`PYTHON autogluon_peer.py FOLDER SECONDS`: reads `data.npz` there, and writes `answer.json`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

CORES = 2
PRESETS = "medium_quality"
"""AutoGluon's default; `best_quality`, bagged and stacked, was far behind it in a trial of few labels."""


def main(folder: Path, seconds: float) -> None:
    """Fit within the time, and predict."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor, __version__

    with np.load(folder / "data.npz") as found:
        x, y, test_x = found["x"], found["y"], found["test_x"]
    frame, test = (pd.DataFrame(each).add_prefix("column ") for each in (x, test_x))
    began = time.monotonic()
    predictor = TabularPredictor(
        label="label",
        eval_metric="accuracy",
        problem_type="binary" if len(set(y.tolist())) == 2 else "multiclass",
        path=str(folder / "models"),
        verbosity=0,
    )
    predictor.fit(
        frame.assign(label=y),
        time_limit=seconds,
        presets=PRESETS,
        num_cpus=CORES,
        num_gpus=0,
        # Its trial on a part of the rows costs a quarter of the time, and few labels have no part to spare.
        dynamic_stacking=False,
    )
    took = time.monotonic() - began
    answer = {
        "predicted": predictor.predict(test).tolist(),
        "seconds": round(took, 1),
        "winner": predictor.model_best,
        "presets": PRESETS,
        "version": __version__,
    }
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
