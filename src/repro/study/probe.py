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
    labels = [train.protected]
    labels += [
        train.protected[torch.randperm(len(train), generator=generator)]
        for _ in range(permutations)
    ]
    ones = torch.stack(labels).double()  # (1 + permutations, n)
    first = (ones @ table) / ones.sum(1, keepdim=True)
    second = ((1 - ones) @ table) / (1 - ones).sum(1, keepdim=True)
    distance = total_variation(first.sqrt(), second.sqrt())
    null = distance[1:]
    return {
        "importance_distance": float(distance[0]),
        "importance_distance_null": float(null.mean()),
        "importance_distance_null_95": float(null.quantile(0.95)),
        "importance_distance_p": float(((null >= distance[0]).sum() + 1) / (permutations + 1)),
        "importance_ratio": float(first[0].sqrt().sum() / second[0].sqrt().sum()),
    }


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
