"""The short causal convolution of each channel with its own taps, for all steps at once."""
