"""Routes, one file for each area."""
