"""The end of a run: what clients saw is judged by what their tiers promised, and summed up."""
