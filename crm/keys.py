"""Primary keys: UUIDv7, so rows sort by age, index pages stay warm and an id tells a neighbour nothing."""

import uuid

import uuid_utils.compat


def uuid7() -> uuid.UUID:
    return uuid_utils.compat.uuid7()
