"""The outside world, each part behind a config: settings, market sources, the warehouse.

Belongs here: everything that touches files, the database, the network, the environment or the clock. Does not belong
here: domain logic (`features`, `backtester`, `strategies`, `model_zoo`) and orchestration (`blofin_assets`).
"""
