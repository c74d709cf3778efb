"""The backends, one a module. Import none of them here: each needs a driver of its own."""
