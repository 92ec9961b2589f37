COPY (
    SELECT a::text, a::varchar(5), a::name
    FROM (VALUES (''), ('a'), ('été'), ('日本'), ('a" \'), (NULL)) AS v (a)
) TO STDOUT (FORMAT binary);
