"""How mail moves: receive, route, accept."""
