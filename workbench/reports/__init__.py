"""Reports: one HTML file that holds all the evidence of a run and opens anywhere, offline."""
