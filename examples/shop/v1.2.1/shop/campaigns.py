"""Campaigns that take turns, so that every customer meets each of them now and then."""

from dataclasses import dataclass
from itertools import cycle


@dataclass(frozen=True)
class Campaign:
    """A reduction of one cent in every so many; 0 for none."""

    name: str
    one_cent_in: int

    def reduced(self, price_cents: int) -> int:
        """Return the price under this campaign, in cents."""
        return price_cents - (price_cents // self.one_cent_in if self.one_cent_in else 0)


CAMPAIGNS = (
    Campaign("welcome", one_cent_in=20),
    Campaign("summer", one_cent_in=10),
    Campaign("club", one_cent_in=8),
    Campaign("clearance", one_cent_in=4),
    Campaign("free shipping", one_cent_in=0),
)


class Rotation:
    """Hands out the campaigns, one after the other."""

    def __init__(self) -> None:
        self._turns = cycle(CAMPAIGNS)

    def next(self) -> Campaign:
        """Return the campaign of this request."""
        return next(self._turns)
