"""The older system's database: its ticks as bars.

Belongs here: reading that database. Does not belong here: storing what is read (`blofin_resources.market.ingestion`).
"""
