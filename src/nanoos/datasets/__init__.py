"""Labelled structures: where rows come from, how they are split, what they look like."""
