"""The Fourier transform taken apart into products with small matrices, which may be learnt."""
