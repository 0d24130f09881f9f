"""The highest level of each gauging station, computed by a Gaia server."""
