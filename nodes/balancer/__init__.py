"""The L4 balancer. Which server is picked is nodes/parts/pool.py: it moves the bytes."""
