"""Self-supervised objectives, one file each; the room is also the verb `tacita.pretrain(...)`."""

from tacita.catalog.rooms import make_verb

make_verb(__name__, "tacita.verbs.pretrain:pretrain")
