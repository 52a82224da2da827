"""Spikes through synapses: dense, sparse, delayed, procedural."""
