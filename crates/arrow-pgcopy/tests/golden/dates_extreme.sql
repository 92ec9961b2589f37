COPY (
    SELECT a::date
    FROM (VALUES ('4714-11-24 BC'), ('5874897-12-31')) AS v (a)
) TO STDOUT (FORMAT binary);
