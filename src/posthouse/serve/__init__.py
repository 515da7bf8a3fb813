"""Who listens: one session per connection."""
