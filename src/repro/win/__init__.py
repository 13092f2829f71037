"""WIN: weight importance neutralisation (Zhang and Zhou, 2024, arXiv 2403.00625).

In the order of the method: the importance of the head's rows to each group (:mod:`.fisher`),
the low-rank head that treats both groups' importance alike (:mod:`.lowrank`), and the fairness
regularisers of the in-processing baselines that it is compared with (:mod:`.constraints`). For
images: frozen features (:mod:`.features`), multi-label heads (:mod:`.multilabel`), and what tells
neutralising from parametrisation: controls (:mod:`.controls`), matched learning rates
(:mod:`.rates`), angles between what is kept (:mod:`.angles`).
"""
