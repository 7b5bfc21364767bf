"""The feature dashboard: features of several autoencoders in a browser, with a bench to change them and look.

What the pages show is computed once into a cache beside the run (`building`), read a page at a time (`cache`), and
turned into the same components for the live server (`app`) and for a copy that opens from disk (`export`).
"""
