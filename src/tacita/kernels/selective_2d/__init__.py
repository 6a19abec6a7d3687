"""The selective scan over a grid of variates and time steps."""
