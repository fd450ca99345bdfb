"""The doors to the published result, and what it promises: its quality objectives and its contract."""
