"""Nodes in other processes of this computer: a second runner, so that a cluster has several cores.

A worker process runs several nodes in a live world of its own, which is on the cluster's network.
It is told what to do over a control connection; no request goes through any hands but its own.
"""
