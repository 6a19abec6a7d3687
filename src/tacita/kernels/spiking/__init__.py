"""Leaky integrate-and-fire neurons over whole sequences: potentials that are reset by their spikes."""
