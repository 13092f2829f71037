"""The study: profiles, runs, records, claims, verdicts, figures, the book."""
