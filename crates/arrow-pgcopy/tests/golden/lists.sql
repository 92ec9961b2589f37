COPY (
    SELECT a::point, b::xid8, c::bit(9), d::varbit, e::int[][]
    FROM (VALUES
        ('(1.5,-2)', '0', '101010101', '', '{{1,2,3},{4,5,6}}'),
        ('(0,Infinity)', '18446744073709551615', '000000000', '1', '{{7,8,9},{10,11,12}}'),
        (NULL, NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d, e)
) TO STDOUT (FORMAT binary);
