"""Model cards of edits: what an edit is, and what a run measured of it."""
