COPY (
    SELECT a::bit(10), b::varbit, c::varbit(12), d::bit(16)
    FROM (VALUES
        ('1011001110', '', '1', X'0001'::text),
        ('0000000000', '1', '111111111111', '1111111111111111'),
        ('1111111111', '10101010101010101', '', '1000000000000000'),
        (NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d)
) TO STDOUT (FORMAT binary);
