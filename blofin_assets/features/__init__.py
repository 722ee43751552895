"""The features stage: stored features and their checks.

Belongs here: assets and checks of features. Does not belong here: computing them (`features`).
"""
