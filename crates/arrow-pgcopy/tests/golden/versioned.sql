BEGIN;
CREATE EXTENSION ltree;
COPY (
    SELECT a::ltree, b::lquery, c::ltxtquery, d::jsonpath
    FROM (VALUES
        ('top.science', '*.science.*{1,2}', 'science & !astro', '$."a"[*]?(@ > 1)'),
        ('', 'a|b', 'a', '$'),
        (NULL, NULL, NULL, NULL)
    ) AS v (a, b, c, d)
) TO STDOUT (FORMAT binary);
ROLLBACK;
