"""The assets, a module for each stage: market, features, strategies, models, reports.

Belongs here: short bodies that read from the warehouse, call one domain function, write and return metadata. Does not
belong here: anything longer.
"""
