"""The helpers that tests share: builders, fakes, gates, servers and so on, each defined once."""
