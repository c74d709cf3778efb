"""Lets the tests here, and those in directories below, import the modules beside this one."""
