"""Gaia without the server: workflows of containers on one machine."""
