"""Lantern: a package of somebody else's."""
