"""The models: their interface, the catalogue and the models themselves.

Belongs here: fitting, predicting and storing one model; a new one is a file here and a line in `catalog`. Does not
belong here: windows and folds (`model_zoo.datasets`), comparing models (`model_zoo.evaluation`).
"""
