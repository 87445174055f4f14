"""What the scheduler costs: storage requests, rows, time. `docs/performance.md` tells the figures."""
