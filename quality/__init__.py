"""How good the data is: objectives, the verdict on each run, the record of runs, the mark for publication."""
