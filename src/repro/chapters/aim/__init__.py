"""AIM-Fair (Zhao et al., 2025): chapters 20 to 39."""
