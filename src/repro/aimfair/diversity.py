"""How different the prompts of a set are, before any image is drawn from them.

Only the context of a prompt is measured, not its subject, which is the same for a whole group. The
measures are of words, and say nothing of how different the images will be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from repro.aimfair.mask import jaccard
from repro.aimfair.prompt_form import Group, take_apart, tidy, words
from repro.aimfair.prompt_words import facet_of
from repro.data.captions import FACETS


def entropy(items: Iterable[object]) -> float:
    """Return the Shannon entropy of the items' frequencies, in bits; 0 for none.

    H = -sum_i q_i log2 q_i, at most log2 of the number of different items.
    """
    counts = np.array(list(Counter(items).values()), dtype=float)
    shares = counts / counts.sum() if counts.size else counts
    return float(abs(-(shares * np.log2(shares)).sum()))  # abs: -0.0 for a single item


def distinct(texts: Iterable[Sequence[str]], n: int) -> float:
    """Return the number of different n-grams over that of all, in [0, 1]; 0 where there are none.

    Parameters
    ----------
    texts
        Words of each prompt, in order; no n-gram crosses from one prompt to the next.
    n
        1 or 2.

    Raises
    ------
    ValueError
        For another n.

    Notes
    -----
    Li et al. (2016), arXiv 1510.03055, "distinct-1" and "distinct-2". It falls as a set grows,
    because words recur: compare sets of one size.
    """
    if n not in (1, 2):
        raise ValueError(f"n must be 1 or 2, not {n}")
    grams: list[tuple[str, ...]] = []
    for text in texts:
        grams += [(word,) for word in text] if n == 1 else list(pairwise(text))
    return len(set(grams)) / len(grams) if grams else 0.0


def diversity(prompts: Sequence[str]) -> dict[str, float]:
    """Measure one set of prompts.

    Parameters
    ----------
    prompts
        n >= 1 prompts, usually of one group; one that is not of the form has no phrases.

    Returns
    -------
    dict
        ``prompts`` (their number); ``facets`` (number of those that any prompt names); for each
        facet ``entropy`` (bits, over its phrases), as in ``"entropy: hair"``; ``distinct-1``,
        ``distinct-2`` (see :func:`distinct`); ``jaccard distance`` and ``tf-idf distance``, means
        over all pairs of prompts, in [0, 1], 0 for a single prompt. TF-IDF vectors are fitted on
        the set itself; their distance is 1 - cosine.

    Raises
    ------
    ValueError
        For no prompts.
    """
    if not prompts:
        raise ValueError("there is no prompt to measure")
    tidied = [tidy(prompt) for prompt in prompts]
    said: dict[str, list[str]] = {facet: [] for facet in FACETS}
    for parts in map(take_apart, tidied):
        for phrase in parts.context if parts else ():
            if (facet := facet_of(phrase)) is not None:
                said[facet].append(phrase.casefold())
    texts = [words(prompt) for prompt in tidied]
    row: dict[str, float] = {
        "prompts": len(tidied),
        "facets": sum(map(bool, said.values())),
        **{f"entropy: {facet}": entropy(phrases) for facet, phrases in said.items()},
    }
    row["distinct-1"], row["distinct-2"] = distinct(texts, 1), distinct(texts, 2)
    pairs = [1 - jaccard(a, b) for a, b in combinations(texts, 2)]
    row["jaccard distance"] = float(np.mean(pairs)) if pairs else 0.0
    row["tf-idf distance"] = _tfidf_distance(texts)
    return row


def mean_diversity(prompts: Mapping[Group, Sequence[str]]) -> pd.Series[float]:
    """Return each measure of :func:`diversity`, mean over the groups."""
    return pd.DataFrame([diversity(texts) for texts in prompts.values()]).mean()


def _tfidf_distance(texts: Sequence[Sequence[str]]) -> float:
    """Return the mean of 1 - cosine over pairs; two empty texts are equal, at distance 0."""
    if len(texts) < 2 or not any(texts):
        return 0.0
    vectors = TfidfVectorizer(analyzer=list).fit_transform(texts).toarray()
    cosine = vectors @ vectors.T
    empty = np.array([not text for text in texts])
    cosine[np.ix_(empty, empty)] = 1.0
    return float(np.clip(1 - cosine[np.triu_indices(len(texts), k=1)], 0, 1).mean())
