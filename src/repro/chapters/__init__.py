"""One module a chapter: what the paper reports, the runs it takes, what is claimed and shown.

Modules of one name (``plans``, ``contrasts``, ``configs``, ``data``, ``stages``) hold what several
chapters of a paper share. To add a chapter: its module, its name here, its notebook.
"""

#: Chapters in the order of the book; :mod:`repro.study.experiments` imports them.
CHAPTERS = (
    "aim.plans",
    "aim.pretraining",
    "aim.selective_mask",
    "aim.selective_finetuning",
    "aim.other_tasks",
    "aim.layer_freezing",
    "aim.top_k",
    "aim.selection_rules",
    "aim.prompt_diversity",
    "aim.synthetic_amount",
    "aim.bias_ratio",
    "aim.less_real_data",
    "aim.is_it_the_mask",
    "win.representation",
    "win.bias_returns",
    "win.weight_importance",
    "win.low_rank_head",
    "win.win_on_adult",
    "win.retraining",
    "win.architectures",
    "win.group_weight",
    "win.win_on_faces",
    "win.backbones",
    "win.faces_elsewhere",
    "win.rank_sweep",
    "win.neutralising",
    "win.both_methods",
)
#: Modules whose functions compute runs; imported when the first is computed.
STAGES = ("aim.stages", "aim.backbone", "win.stages", "win.face_stages")
