"""WIN (Zhang and Zhou, 2024): chapters 40 to 49."""
