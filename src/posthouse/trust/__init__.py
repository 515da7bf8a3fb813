"""Whether a sender, or a server, is believed: pure, given a Resolver."""
