"""Protocols of publications as data, and the figures that they define."""
