"""Every test here drives the whole platform."""

from support.platform_fixtures import done, first_pass, make_platform, no_surroundings, passed, platform

__all__ = ["done", "first_pass", "make_platform", "no_surroundings", "passed", "platform"]
