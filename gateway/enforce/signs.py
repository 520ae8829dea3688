"""What a request shows of its client, in the coarse terms in which it is compared: device, hints, network, country.

    browser (four header fields)   ->   Devices     ->   Chrome|Windows|desktop, and what client hints say
    address                        ->   Networks    ->   203.0.113.0/24
                                        Countries   ->   DE

The same signs are written into the record at login (`to_remember`) and compared later (`fingerprint.compare`). Owns no data.
"""

from typing import NamedTuple

from gateway.enforce.country import Countries
from gateway.enforce.device import Device, Devices
from gateway.enforce.network import Networks

Browser = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
"""The fields that name it: User-Agent, Sec-CH-UA, Sec-CH-UA-Mobile, Sec-CH-UA-Platform; as `shown.Shown.browser`."""


class Signs(NamedTuple):
    """What a request shows of its client. None and empty: not known."""

    device: Device | None
    hints: Device | None
    network: str
    country: str

    @property
    def is_recognised(self) -> bool:
        """A browser that people use: a page that it asks for may end a session."""
        return self.device is not None and self.device.is_recognised

    @property
    def agent(self) -> str:
        """For people: `Firefox on Linux`. Brave and others call themselves Chrome and tell their name in the hints only."""
        if self.device is None:
            return ""
        if self.device.family == "Chrome" and self.hints is not None and self.hints.is_recognised:
            return Device(self.hints.family, self.device.system, self.device.form).display
        return self.device.display

    def to_remember(self) -> dict[str, str]:
        """The fields of a session's record, by their names there."""
        return {
            "network": self.network,
            "device": self.device.text if self.device is not None else "",
            "hints": self.hints.text if self.hints is not None else "",
            "country": self.country,
            "agent": self.agent,
        }


class SignReader:
    """Makes signs of what a request shows. One per worker; without `countries` no country is known."""

    __slots__ = ("countries", "devices", "networks")

    def __init__(self, devices: Devices, networks: Networks, countries: Countries | None = None) -> None:
        self.devices = devices
        self.networks = networks
        self.countries = countries

    def read(self, browser: Browser, address: str) -> Signs:
        """The signs of one request; `address` as `wire.forwarded` found it. 1 µs when its parts were seen before."""
        agent, brands, mobile, platform = browser
        return Signs(
            self.devices.of_agent(agent),
            self.devices.of_hints(brands, mobile, platform),
            self.networks.prefix_of(address),
            (self.countries.country_of(address) or "") if self.countries is not None else "",
        )
