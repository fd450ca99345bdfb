"""The assets, from the landed file to the published copy."""
