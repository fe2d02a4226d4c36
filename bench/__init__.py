"""How much one machine carries, always as a ratio to a floor measured in the same run. `make bench`."""
