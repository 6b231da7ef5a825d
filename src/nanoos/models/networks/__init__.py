"""Graph networks in PyTorch."""
