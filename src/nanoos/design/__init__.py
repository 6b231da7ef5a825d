"""Design of experiments on materials: spaces, surrogates, acquisition, the loop. Pure policy."""
