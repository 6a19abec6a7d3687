"""Using an encoder: probes and fine-tuning, a file each; also the verb `tacita.adapt(...)`."""

from tacita.catalog.rooms import make_verb

make_verb(__name__, "tacita.verbs.adapt:adapt")
