"""Cells over whole sequences, alone or through recurrent synapses."""
