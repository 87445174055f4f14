"""The office calendar: an example that runs the whole scheduler on this machine, and checks it."""
