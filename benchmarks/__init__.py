"""Speed, memory and the quality of the score, always compared with a floor or a peer measured in the same run."""
