"""The market stage: candles, funding, instruments and their checks.

Belongs here: assets and checks of market data. Does not belong here: fetching and storing (`blofin_resources.market`).
"""
