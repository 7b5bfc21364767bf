"""Concepts to evidence: suites of prompts, judges, evaluation of edits, and metrics with intervals."""
