"""Where a lead called from, and what its clock said.

One zone per state, as the call centers that sell these leads count: a state with two zones has the one most of its
people live in. The difference (an hour) matters only to a lead on the last day of a bucket.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

_BY_ZONE: Final = {
    "America/New_York": "CT DC DE FL GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
    "America/Detroit": "MI",
    "America/Indiana/Indianapolis": "IN",
    "America/Kentucky/Louisville": "KY",
    "America/Chicago": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
    "America/Denver": "CO MT NM UT WY",
    "America/Boise": "ID",
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA NV OR WA",
    "America/Anchorage": "AK",
    "Pacific/Honolulu": "HI",
    # Territories and the freely associated states that share the postal codes.
    "America/Puerto_Rico": "PR",
    "America/St_Thomas": "VI",
    "Pacific/Guam": "GU",
    "Pacific/Saipan": "MP",
    "Pacific/Pago_Pago": "AS",
}
ZONES: Final = {state: ZoneInfo(zone) for zone, states in _BY_ZONE.items() for state in states.split()}
_UTC: Final = ZoneInfo("UTC")


def zone_of(state: str) -> ZoneInfo:
    """By postal code, in any case. A state we do not know is taken as UTC."""
    return ZONES.get(state.strip().upper(), _UTC)


def spell_state(state: str) -> str:
    """A postal code in capitals; anything else as it was typed, trimmed."""
    trimmed = state.strip()
    code = trimmed.upper()
    return code if code in ZONES else trimmed
