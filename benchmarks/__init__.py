"""What the scheduler costs: requests to storage, rows, time; `docs/performance.md` tells it."""
