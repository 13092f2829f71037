"""AIM-Fair: selective fine-tuning on synthetic faces (Zhao et al., CVPR 2025, arXiv 2503.05665).

In the order of the method: how gradients differ between sets of faces (:mod:`.gradients`), which
tensors are therefore sensitive to bias and not to the domain gap (:mod:`.mask`), every strategy of
fine-tuning that the paper compares (:mod:`.strategies`), on which images it trains
(:mod:`.composition`) and which tensors (:mod:`.finetune`). What a tensor is, by its name, is in
:mod:`repro.tensors`.
"""
