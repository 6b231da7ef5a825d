"""What every other part stands on: errors, registries, units and frozen records."""
