CREATE TABLE country (code TEXT PRIMARY KEY, name TEXT NOT NULL);

CREATE TABLE zone (name TEXT PRIMARY KEY, coordinates TEXT NOT NULL, comment TEXT NOT NULL);

CREATE TABLE country_zone (
    country TEXT NOT NULL REFERENCES country (code),
    zone TEXT NOT NULL REFERENCES zone (name),
    PRIMARY KEY (country, zone)
);

CREATE TABLE office_log (
    id INTEGER PRIMARY KEY,
    office TEXT NOT NULL REFERENCES zone (name),
    day TEXT NOT NULL,
    entry TEXT NOT NULL
);

CREATE INDEX office_log_by_office ON office_log (office);

CREATE TABLE purge (purged_on TEXT PRIMARY KEY, entries INTEGER NOT NULL, oldest TEXT);

CREATE TABLE country_summary (
    country TEXT PRIMARY KEY REFERENCES country (code),
    zones INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    updated_on TEXT NOT NULL
);

-- The first attempt is refused, so that there is a retry to see.
CREATE TABLE filed_report (
    day TEXT PRIMARY KEY,
    attempt INTEGER NOT NULL CONSTRAINT first_attempt_is_refused CHECK (attempt > 1)
);
