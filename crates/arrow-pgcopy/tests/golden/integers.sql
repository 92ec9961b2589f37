COPY (
    SELECT a::int2, b::int4, c::int8, d::oid
    FROM (VALUES
        (-32768, -2147483648, -9223372036854775808, 0),
        (0, 0, 0, 1),
        (32767, 2147483647, 9223372036854775807, 4294967295),
        (NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d)
) TO STDOUT (FORMAT binary);
