"""Histories as pictures: SVG that needs nothing else, and the styles and scripts that a page gives it."""
