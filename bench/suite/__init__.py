"""What the scenarios of the suite share: prepared loads, seeded worlds, clusters and peers of their own, plots."""
