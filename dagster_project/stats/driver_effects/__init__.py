"""By how much retention changes with each driver of a catalogue, and what speaks for and against it."""
