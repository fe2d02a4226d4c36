"""Conversations that staff start and the assistant carries until a person has to take over."""
