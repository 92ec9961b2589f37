COPY (
    SELECT a::date, a::timestamp
    FROM (VALUES
        ('1970-01-01'), ('2000-01-01'), ('2013-12-31'), ('0001-01-01'), ('9999-12-31'),
        ('1969-12-31'), (NULL)
    ) AS v (a)
) TO STDOUT (FORMAT binary);
