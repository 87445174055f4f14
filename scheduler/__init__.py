"""The job scheduler, without triggers.

Zone data comes from the pinned `tzdata` package on every machine: the system's own copy may be
older, newer or missing, and two instances would then disagree about the same wall clock.
"""

import zoneinfo

zoneinfo.reset_tzpath(to=())
zoneinfo.ZoneInfo.clear_cache()
