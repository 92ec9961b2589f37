COPY (
    SELECT a::timestamp, (a || '+00')::timestamptz
    FROM (VALUES
        ('1970-01-01 00:00:00'), ('1969-12-31 23:59:59.999999'), ('2013-07-01 12:30:00.25'),
        ('0001-01-01 00:00:00'), ('9999-12-31 23:59:59.999999'), (NULL)
    ) AS v (a)
) TO STDOUT (FORMAT binary);
