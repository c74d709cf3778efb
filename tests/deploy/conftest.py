"""Lets the tests here import the modules beside this one."""
