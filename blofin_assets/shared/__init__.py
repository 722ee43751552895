"""Modules that two or more stages use.

Belongs here: the form of an asset, times and partitions, rows that several stages write, the sources that they read
from. Does not belong here: anything of one stage, anything that imports a stage.
"""
