"""How many machines so many users need: demands measured in simulations, formulas of queueing, and
simulations again that hold the prediction to what then runs. It knows no tier."""
