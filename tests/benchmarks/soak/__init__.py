"""The parts of the soak, `benchmarks.soaking`: workflows, user, pages, readings, judgement."""
