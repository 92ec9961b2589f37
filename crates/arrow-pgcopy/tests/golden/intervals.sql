COPY (
    SELECT a::interval
    FROM (VALUES
        ('0'), ('1.5 seconds'), ('-1 second'), ('1 mon 2 days 03:04:05.000006'),
        ('-1 mon 2 days -00:00:01'), (NULL)
    ) AS v (a)
) TO STDOUT (FORMAT binary);
