COPY (
    SELECT a::timestamp
    FROM (VALUES ('4714-11-24 00:00:00 BC'), ('294247-01-10 04:00:54.775807')) AS v (a)
) TO STDOUT (FORMAT binary);
