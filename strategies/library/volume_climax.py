"""Volume: exhaustion in a climax."""

from strategies import Features, Param, Signal, Strategy


class VolumeClimax(Strategy):
    """Fade a bar of extreme volume that leaves a long wick.

    Edge: liquidations print extreme volume at the worst price; when they are done the price comes back.
    Fails: when the volume is news; the wick is then only the first hesitation.
    """

    name = "volume_climax"
    timeframes = ("5m", "60m")
    volume = Param(1.5, 1.0, 4.0)
    wick = Param(0.45, 0.3, 0.7)
    stop = Param(0.015, 0.005, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        climax = f.volume_zscore_20 > self.volume
        return Signal(
            long_entry=climax & (f.lower_wick > self.wick),
            short_entry=climax & (f.upper_wick > self.wick),
            stop=self.stop,
            target=self.stop,
            time_stop=24,
        )
