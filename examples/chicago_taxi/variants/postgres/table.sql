-- The trips, with the columns of data/trips.parquet.
create table public.trips (
    trip_id bigint primary key,
    company text,
    pickup_area bigint,
    dropoff_area bigint,
    trip_start timestamptz not null,
    trip_end timestamptz not null,
    trip_seconds bigint,
    trip_miles double precision,
    fare double precision,
    tips double precision,
    payment_type text,
    hour integer,
    pickup_latitude double precision,
    pickup_longitude double precision,
    dropoff_latitude double precision,
    dropoff_longitude double precision
);
