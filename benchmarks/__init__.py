"""Speed and memory, always beside a floor or a peer measured in the same run."""
