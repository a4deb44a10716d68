"""A topology for other programs that start processes: Kubernetes, and what reads its pods.

Data only: nothing here talks to any of them, and no tier is known but by what its Kind says."""
