COPY (
    SELECT a::json, a::jsonb
    FROM (VALUES ('{"a": 1}'), ('[1, null, "é"]'), ('null'), (NULL)) AS v (a)
) TO STDOUT (FORMAT binary);
