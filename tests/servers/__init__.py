"""Stand-ins for the providers: small servers that speak their protocols on this machine."""
