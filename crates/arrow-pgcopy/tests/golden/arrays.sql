COPY (
    SELECT a::int4[], b::text[], c::numeric(10,2)[], d::int8[]
    FROM (VALUES
        ('{1,2,3}', '{a,"",NULL}', '{1.50,0.00}', '{{1,2},{3,4},{5,NULL}}'),
        ('{}', '{}', '{}', '{}'),
        ('{NULL}', '{é}', '{NULL,-99999999.99}', '{{7}}'),
        (NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d)
) TO STDOUT (FORMAT binary);
