"""Measurements, beside bare references and other programs: `make bench`. Not part of the tests."""
