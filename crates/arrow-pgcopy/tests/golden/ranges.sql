COPY (
    SELECT a::int8range, b::numrange, c::tsrange, d::nummultirange
    FROM (VALUES
        ('[1,5)', '[1.5,2.50]', '[2013-01-01,2013-01-02 12:30:00)', '{[1,2),(3,4]}'),
        ('[,5)', '(1,)', '(,)', '{}'),
        ('empty', 'empty', '[2000-01-01,)', '{(,1],[2,)}'),
        (NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d)
) TO STDOUT (FORMAT binary);
