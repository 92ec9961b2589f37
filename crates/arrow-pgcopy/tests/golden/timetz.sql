COPY (
    SELECT a::timetz
    FROM (VALUES
        ('00:00:00Z'), ('12:30:00.25+02'), ('23:59:59.999999-05:30'), ('24:00:00+15:59:59'), (NULL)
    ) AS v (a)
) TO STDOUT (FORMAT binary);
