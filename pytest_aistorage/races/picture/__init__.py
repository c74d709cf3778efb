"""Histories as pictures: SVG that needs nothing else, and the scripts and styles that a page gives it."""
