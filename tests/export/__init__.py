"""Topologies for Kubernetes and podman."""
