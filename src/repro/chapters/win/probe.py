"""What the last layer of a classifier sees of each protected group (Figures 1 and 3 of WIN)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor

from repro.training import Examples

PCA_BINS = 32


def total_variation(first: Tensor, second: Tensor) -> Tensor:
    """Return half the L1 distance of two importances (..., d), each scaled to sum 1; 0 to 1."""
    first = first / first.sum(-1, keepdim=True)
    second = second / second.sum(-1, keepdim=True)
    return (first - second).abs().sum(-1) / 2


def group_difference(
    inside: Tensor, logits: Tensor, train: Examples, permutations: int, seed: int
) -> dict[str, Any]:
    """Compare the groups' importances with those of groups drawn by permuting the label.

    The importance of a row needs only sum_j of the squared gradient, x_i^2 sum_j (q_j - y_j)^2,
    so every permutation is one product of a group indicator with that (n, d) table.
    """
    residual = torch.softmax(logits.double(), 1)
    residual[torch.arange(len(residual)), train.target] -= 1
    table = inside.double().square() * residual.square().sum(1, keepdim=True)  # (n, d)
    generator = torch.Generator().manual_seed(seed)

    def split(protected: Tensor) -> tuple[Tensor, Tensor]:
        """Return the importances (..., d) of p = 1 and p = 0 for labels (..., n)."""
        ones = protected.double()
        first = (ones @ table) / ones.sum(-1, keepdim=True)
        second = ((1 - ones) @ table) / (1 - ones).sum(-1, keepdim=True)
        return first.sqrt(), second.sqrt()

    men, women = split(train.protected)
    distance = total_variation(men, women)
    pooled = table.mean(0).sqrt()
    results = {
        "importance_distance": float(distance),
        "importance_ratio": float(men.sum() / women.sum()),
        "importance_pooled_to_neutralised": float(total_variation(pooled, (men + women) / 2)),
    }
    # Groups by chance; and by chance but with as many positives in each as there are, because
    # groups whose base rates differ would have different gradients for that reason alone.
    everybody = [torch.arange(len(train))]
    by_target = [torch.nonzero(train.target == t).flatten() for t in (0, 1)]
    for name, cells in (("null", everybody), ("null_given_target", by_target)):
        drawn = torch.stack(
            [_permuted(train.protected, cells, generator) for _ in range(permutations)]
        )
        null = total_variation(*split(drawn))
        at_least = int((null >= distance).sum())
        results |= {
            f"importance_distance_{name}": float(null.mean()),
            f"importance_distance_{name}_95": float(null.quantile(0.95)),
            f"importance_distance_{name}_p": (at_least + 1) / (permutations + 1),
        }
    return results


def _permuted(labels: Tensor, cells: list[Tensor], generator: torch.Generator) -> Tensor:
    """Return the labels permuted within each cell of indices."""
    permuted = labels.clone()
    for cell in cells:
        permuted[cell] = labels[cell[torch.randperm(len(cell), generator=generator)]]
    return permuted


def separation(inside: Tensor, logits: Tensor, protected: Tensor, seed: int) -> dict[str, Any]:
    """Tell how far apart positively predicted men and women lie before the last layer.

    ``separation_auc``: cross-validated ROC AUC of a linear discriminant that guesses the protected
    attribute (0.5: cannot tell), ``separation_auc_pca`` the same from the first two principal
    components alone, which is what Figure 1 shows. ``separation_distance``: distance of the two
    centroids over the root mean squared distance to the own centroid. ``pca_density``: counts of
    both groups on a grid of the first two principal components (no single person is stored).
    """
    chosen = logits[:, 1] > logits[:, 0]
    points, group = inside[chosen].double().numpy(), protected[chosen].numpy()
    sizes = np.bincount(group, minlength=2)
    if sizes.min() < 20:
        names = ("separation_auc", "separation_auc_pca", "separation_distance")
        return {**dict.fromkeys(names), "positives": sizes.tolist()}
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    # The least-squares solver takes dead (constant) units, which 'svd' warns about.
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3)
    centroids = [points[group == p].mean(0) for p in (0, 1)]
    within = np.mean([((points[group == p] - centroids[p]) ** 2).sum(1).mean() for p in (0, 1)])
    plane = PCA(2, svd_solver="full").fit(points)
    flat = plane.transform(points)

    def auc(x: np.ndarray) -> float:
        guess = cross_val_predict(discriminant, x, group, cv=folds, method="predict_proba")
        return float(roc_auc_score(group, guess[:, 1]))

    low, high = np.quantile(flat, [0.005, 0.995], axis=0)
    edges = [np.linspace(low[i], high[i], PCA_BINS + 1) for i in (0, 1)]
    density = [
        np.histogram2d(flat[group == p, 0], flat[group == p, 1], bins=edges)[0].astype(int).tolist()
        for p in (0, 1)
    ]
    return {
        "separation_auc": auc(points),
        "separation_auc_pca": auc(flat),
        "separation_distance": float(np.linalg.norm(centroids[1] - centroids[0]) / within**0.5),
        "positives": sizes.tolist(),
        "pca_explained": plane.explained_variance_ratio_.tolist(),
        "pca_edges": [edge.tolist() for edge in edges],
        "pca_density": density,
    }
