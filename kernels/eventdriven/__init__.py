"""Networks in continuous time: spikes at exact times, work for each spike and none in between."""
