"""Import of market data that other programs stored: freqtrade, Binance, CSV and Parquet files into an archive.

Belongs here: recognising files, reading them, joining them into the files of an archive. Does not belong here: reading
an archive (`blofin_resources.market.archive`), the terminal (`blofin_assets.cli`).
"""

from blofin_resources.market.importing.joining import Import, Joined, Refused, import_folder
from blofin_resources.market.importing.reading import NAMES
from blofin_resources.market.importing.recognition import PlainFormat, Survey, survey

__all__ = ["NAMES", "Import", "Joined", "PlainFormat", "Refused", "Survey", "import_folder", "survey"]
