"""Liquid cells over whole sequences: liquid time constants and their closed form."""
