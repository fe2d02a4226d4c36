"""The pages of leads and deals, by room."""
