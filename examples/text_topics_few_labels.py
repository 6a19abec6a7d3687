"""Topics that read well and find a rare class: which docstrings are about images? Few are labelled."""

import inspect
from importlib import import_module

import numpy as np
from sklearn.decomposition import NMF
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from tacita.adapt.supervised_dictionary import SupervisedDictionary

texts: dict[str, str] = {}
packages = ["ndimage", "linalg", "signal", "special", "stats"]
for module in ("numpy", "torch", "sklearn.metrics", *(f"scipy.{name}" for name in packages)):
    for name, thing in inspect.getmembers(import_module(module), callable):
        if name[0] != "_" and len(inspect.getdoc(thing) or "") > 200:
            texts.setdefault(inspect.getdoc(thing) or "", module)
tfidf = TfidfVectorizer(stop_words="english", token_pattern="[a-z]{3,}", min_df=5, max_df=0.3)
x, y = tfidf.fit_transform(texts), np.array(list(texts.values())) == "scipy.ndimage"
order = np.random.default_rng(0).permutation(len(y))
train, held = order[: len(y) // 2], order[len(y) // 2 :]

# A third of the training texts have a label; -1 means that one is not known.
known = np.where(np.arange(len(train)) % 3 == 0, y[train], -1)
sdl = SupervisedDictionary(rank=8, non_negative=True, penalty=0.01, random_state=0, max_iter=100)
sdl.fit(x[train], known)
nmf = NMF(8, init="nndsvda", max_iter=500).fit(x[train])
plain = LogisticRegression(C=1e4).fit(nmf.transform(x[train][known >= 0]), known[known >= 0])
print(f"{len(y)} texts, {y.mean():.1%} about images; {(known >= 0).sum()} labels; F1 of the rest:")
print(f"  topics learnt with labels {f1_score(y[held], sdl.predict(x[held])):.3f}")
print(f"  NMF, then a classifier    {f1_score(y[held], plain.predict(nmf.transform(x[held]))):.3f}")
words = tfidf.get_feature_names_out()
for topic in np.argsort(-sdl.weights_[:, 0]):
    best = words[np.argsort(-sdl.components_[topic])[:7]]
    print(f"{sdl.weights_[topic, 0]:9.1f}  {', '.join(best)}")
