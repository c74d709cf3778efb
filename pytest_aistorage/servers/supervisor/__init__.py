"""The detached process that owns a server, stops it when its last user is gone, and cleans up after it.

It runs as ``python -I -S`` in order to be up within milliseconds, so the modules of this folder import
cheap parts of the standard library and each other, nothing else. They import each other relatively, which
works in the supervisor (where this folder is the top-level package ``supervisor``) and in pytest alike.
"""
