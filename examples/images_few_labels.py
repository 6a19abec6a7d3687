"""Images with two labels a class: learn from the labels alone, or from the other images too?"""

import numpy as np
from sklearn.datasets import load_digits

import tacita

digits = load_digits()
images = np.rint(digits.images * 255 / 16).astype("uint8")
order = np.random.default_rng(0).permutation(len(images))
images, truth = images[order], digits.target[order]

# Two labels of each class are known; -1 means that a label is not.
labels = np.full(1000, -1)
for digit in range(10):
    two = np.flatnonzero(truth[:1000] == digit)[:2]
    labels[two] = digit

# A hundred steps keep the example short; leave them out for the method's own number.
tuned = tacita.adapt("fixmatch", images[:1000], labels, steps=100, quiet=True)
alone = tacita.adapt("supervised", images[:1000], labels, steps=100, quiet=True)
for name, model in {"with all images": tuned, "labels alone": alone}.items():
    scores = model.evaluate(images[1000:], truth[1000:])
    print(f"{name}: accuracy {scores['accuracy']:.1%} on {len(images) - 1000} other images")
