-- The registry: one row of what concerns the file as a whole, then one table per kind of record.
-- Types and constraints are SQLite's; the statements that use these tables keep to what PostgreSQL has, too.

CREATE TABLE meta (
    only_row         INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    format           INTEGER NOT NULL,  -- raised by a migration that older programs could not live with
    next_device      INTEGER NOT NULL,  -- device ids are counted up and never used again
    key_id           TEXT,              -- which key the credentials are written with
    applied_position TEXT               -- up to where the event log is projected into the tables below
) STRICT;

INSERT INTO meta (only_row, format, next_device) VALUES (1, 1, 1);

CREATE TABLE tenants (
    id   INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

INSERT INTO tenants (id, name) VALUES (1, 'default');

CREATE TABLE devices (
    id      INTEGER NOT NULL PRIMARY KEY,
    tenant  INTEGER NOT NULL REFERENCES tenants (id),
    name    TEXT NOT NULL,
    profile TEXT NOT NULL,
    gateway INTEGER NOT NULL,
    created INTEGER NOT NULL,           -- milliseconds since the Unix epoch
    UNIQUE (tenant, name)
) STRICT;

CREATE INDEX devices_by_profile ON devices (tenant, profile, name);

-- Exactly one per device.
CREATE TABLE credentials (
    device INTEGER NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    place  BLOB NOT NULL UNIQUE,        -- keyed hash of what the device is found by
    sealed BLOB NOT NULL                -- the whole credential, encrypted and bound to the device
) STRICT;

-- Profiles that appeared at run time and have no file yet.
CREATE TABLE profiles (
    tenant   INTEGER NOT NULL REFERENCES tenants (id),
    name     TEXT NOT NULL,
    based_on TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The projection of the event log. Packed rows are opaque here. There are rows only for devices that exist; whoever
-- deletes a device deletes them too.
CREATE TABLE latest_values (
    tenant INTEGER NOT NULL,
    device INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (tenant, device)
) STRICT;

CREATE TABLE client_attributes (
    tenant INTEGER NOT NULL,
    device INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (tenant, device)
) STRICT;

CREATE TABLE connectivity (
    tenant      INTEGER NOT NULL,
    device      INTEGER NOT NULL,
    connected   INTEGER NOT NULL,
    boot        INTEGER NOT NULL,       -- the run that saw the last change, as the event log counts
    client_id   TEXT NOT NULL,
    since       INTEGER NOT NULL,
    last_change INTEGER NOT NULL,
    PRIMARY KEY (tenant, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX connectivity_open ON connectivity (tenant, device, boot) WHERE connected;
