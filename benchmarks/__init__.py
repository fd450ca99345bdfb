"""Speed, memory and the quality of the score, always beside a floor or a peer measured in the same run."""
