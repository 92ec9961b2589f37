COPY (
    SELECT a::time, a::interval
    FROM (VALUES ('00:00:00'), ('12:30:00'), ('23:59:59'), ('24:00:00'), (NULL)) AS v (a)
) TO STDOUT (FORMAT binary);
