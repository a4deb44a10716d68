"""What the file says of users: how they come, what they do, how patient they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from nodes.parts.breaker import Breaker
from nodes.parts.changing import Curve, Rate, Share, Step, rate_of
from nodes.parts.shedding import LEAST, MIDDLE
from nodes.users.resolver import client_subnets
from nodes.users.visiting import (
    ASSET,
    HOME,
    PHOTO,
    POST,
    PROFILE,
    SEARCH,
    TIMELINE,
)  # fmt: skip
from protocols import dns

MAX_CLIENTS: Final = 100_000
MAX_PEOPLE: Final = 1_000_000_000
MAX_SAMPLE: Final = 100_000
"""People of a population whose requests are really sent, of one node."""
LEAST_SAMPLE: Final = 0.0001
"""Where a cpu is declared, each request of a smaller one would hold the loop for over 10 ms, for
those whom it stands for."""
MAX_RATE_PER_S: Final = 1_000_000
"""Of one node; more than any laptop can do."""
HOST: Final = "www.example.test"
"""What a site is called where no resolver says it."""


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """A circuit breaker that the users of a node share."""

    failures: int = 20
    """So many failures in a row open it: nobody asks any more."""
    open_s: float = 1.0
    """So long; then one may try."""
    probe_timeout_s: float = 5.0
    """When nothing is heard of that one for so long, another may."""

    def __post_init__(self) -> None:
        if self.failures < 1 or self.open_s <= 0 or self.probe_timeout_s <= 0:
            raise ValueError("`failures`, `open` and `probe_timeout` must be above 0")

    def breaker(self) -> Breaker:
        return Breaker(
            failures=self.failures, open_s=self.open_s, trial_timeout_s=self.probe_timeout_s
        )


@dataclass(frozen=True, slots=True)
class Mix:
    """What users do, by weight."""

    home: int = 20
    """The front page."""
    asset: int = 10
    """Pictures and stylesheets (HTTP only)."""
    profile: int = 25
    """A person's page."""
    timeline: int = 25
    """What the people that one follows have posted."""
    search: int = 5
    """A search for a word."""
    post: int = 15
    """A new post, with an id by which it is looked for at the end."""
    photo: int = 0
    """A new photo, likewise; for a site that has a queue and workers."""

    def weights(self) -> dict[str, int]:
        names = (HOME, ASSET, PROFILE, TIMELINE, SEARCH, POST, PHOTO)
        return dict(zip(names, (self.home, self.asset, self.profile, self.timeline, self.search,
                                self.post, self.photo), strict=True))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Urgency:
    """How urgent each thing is that users do, from 0 (the most) to 7: an overloaded server refuses
    the least urgent first, where its `cpu` has a `shed_wait`."""

    home: int = MIDDLE
    """The front page."""
    asset: int = MIDDLE
    """Pictures and stylesheets."""
    profile: int = MIDDLE
    """A person's page."""
    timeline: int = MIDDLE
    """What the people that one follows have posted."""
    search: int = MIDDLE
    """A search for a word."""
    post: int = MIDDLE
    """A new post."""
    photo: int = MIDDLE
    """A new photo."""

    def __post_init__(self) -> None:
        if not all(0 <= getattr(self, each) <= LEAST for each in self.__slots__):
            raise ValueError(f"`urgency` is from 0 (the most urgent) to {LEAST}")


@dataclass(frozen=True, slots=True)
class UsersConfig:
    """Users of one region: `rate` (they come, whatever happens), `clients` or a `population` (they
    wait for their answers, and think)."""

    visits: str
    """The tier whose public members they ask (or whose port, with a resolver): `visits: lb`."""
    rate_per_s: float | tuple[Step, ...] | Curve = 0.0
    """Open loop: arrivals as a Poisson process, `rate: 50/s`. It may change: in steps, `rate: [[0s,
    50/s], [30s, 400/s]]`, or as `rate: {shape: diurnal, low: 20/s, high: 200/s, every: 5m}`."""
    clients: int = 0
    """Closed loop: so many users, each waiting for its answer and then thinking."""
    population_people: int = 0
    """Closed loop, of any number of people: those who think are one Poisson process, which is
    exact: `population: 1M`."""
    think_time_s: float = 1.0
    """Mean of the (exponential) pause between one's operations."""
    sample_ratio: float = 1.0
    """The share of a population, or of a rate, whose requests are really sent: `sample: 0.5%`. The
    others are work for the cpus on their way, and for nothing else."""
    resolver: str = ""
    """A dns tier, or one of resolvers: the site's name is resolved there, by the nearest server, at
    each request: `resolver: dns`."""
    network: str = ""
    """People's addresses, which servers are told instead of their region (by EDNS client subnet):
    `network: 198.51.100.0/24`."""
    host: str = ""
    """The site's name, if not `www` in the resolver's zone: `host: shop.test`."""
    pin_share: float = 0.0
    """With a resolver: the share of clients that keep an address past its time to live."""
    protocol: Literal["http", "rpc"] = "http"
    """How they ask: over HTTP as browsers do, or by MessagePack-RPC as apps might."""
    mix: Mix = field(default_factory=Mix)
    """How often they do what, by weight: `mix: {post: 30, search: 0}`."""
    urgency: Urgency = field(default_factory=Urgency)
    """How urgent that is, from 0 to 7, 3 if not said: `urgency: {post: 1, search: 6}`."""
    login: bool = False
    """Whether they log in first and post by their session (a lost session is an error)."""
    timeout_s: float = 2.0
    """For one attempt."""
    retries: int = 2
    """Further attempts of one operation, within the budget."""
    retry_budget_ratio: float = 0.2
    """Retries may be at most this share of what is answered; 100%: there is no budget."""
    retry_wait_s: float = 0.05
    """The window of the first retry's wait; it doubles with each further one."""
    max_retry_wait_s: float = 2.0
    """The longest window."""
    jitter: bool = True
    """Whether a retry waits for a random part of its window, or for the whole of it."""
    breaker: BreakerOptions | None = None
    """Whether they stop asking, together, while nothing is answered: `breaker: {failures: 20}`."""
    max_in_flight: int = 512
    """Open loop: arrivals beyond this are shed (and counted as errors)."""
    requests_per_connection: int = 50
    """After so many a browser connects anew (0: never)."""

    def __post_init__(self) -> None:
        rate = self.rate()
        if rate.peak_per_s <= 0 and self.clients <= 0 and self.population_people <= 0:
            raise ValueError("users need a `rate` (50/s), a `population` (10k), or `clients` (5)")
        self._check_sample()
        if rate.least_per_s < 0 or self.clients < 0 or self.retries < 0 or self.max_in_flight < 1:
            raise ValueError("`rate`, `clients`, `retries` must not be below 0")
        if self.timeout_s <= 0:
            raise ValueError("`timeout` must be above 0")
        if self.clients > MAX_CLIENTS or rate.peak_per_s > MAX_RATE_PER_S:
            raise ValueError(f"at most {MAX_CLIENTS:,} `clients`, and {MAX_RATE_PER_S:,}/s")
        if self.retry_wait_s < 0 or self.max_retry_wait_s < 0:
            raise ValueError("`retry_wait` and `max_retry_wait` must not be below 0")
        self.site_name()
        if self.network:
            client_subnets(self.network)
        weights = self.mix.weights().values()
        if min(weights) < 0 or sum(weights) == 0:
            raise ValueError("`mix`: weights must not be below 0, and one must be above")
        if not 0 <= self.retry_budget_ratio <= 1 or not 0 <= self.pin_share <= 1:
            raise ValueError("`retry_budget` and `pin_share` are from 0 to 1")

    def _check_sample(self) -> None:
        if not LEAST_SAMPLE <= self.sample_ratio <= 1:
            raise ValueError(f"`sample` is from {LEAST_SAMPLE:.2%} to 100%")
        if not 0 <= self.population_people <= MAX_PEOPLE:
            raise ValueError("`population` is at most 1B")
        if self.sample_ratio < 1 and self.clients:
            raise ValueError("`clients` are all there: a `sample` is of a `population` or a `rate`")
        if self.people > MAX_SAMPLE:
            raise ValueError(f"{self.people:,} people at a time; take a smaller `sample`")
        if self.population_people and not self.people:
            raise ValueError("nobody is left of the `population`: take a larger `sample`")
        if self.population_people and self.think_time_s <= 0:
            raise ValueError("a `population` needs a `think_time`, for example 30s")

    @property
    def people(self) -> int:
        """Those of the population whose requests are really sent."""
        return round(self.population_people * self.sample_ratio)

    def whole_rate(self) -> Rate:
        """Of all who come at a rate, sent or not. Raises ValueError."""
        return rate_of(self.rate_per_s)

    def rate(self) -> Rate:
        """Of the requests that are really sent, over the time of the visit. Raises ValueError."""
        found = self.whole_rate()
        return found if self.sample_ratio == 1 else Share(found, self.sample_ratio)

    def site_name(self) -> str:
        """As it is on the wire. Raises ValueError."""
        try:
            return dns.canonical(self.host) if self.host else HOST
        except ValueError as error:
            raise ValueError(f"`host`: {error}") from None
