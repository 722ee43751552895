"""Evolution as the cycle runs it: what designers are shown, how Claude is asked, which rows come of it.

Belongs here: everything between the warehouse and Claude on one side and the pure parts of `strategies.evolution` on
the other. Does not belong here: assets (`blofin_assets.assets`), searching and judging (`strategies.evolution`).
"""
