"""What tests share: builders, fakes, gates, servers and other helpers, each defined once."""
