COPY (
    SELECT a::bytea, b::uuid
    FROM (VALUES
        ('\x', '00000000-0000-0000-0000-000000000000'),
        ('\x00ff', '123e4567-e89b-12d3-a456-426614174000'),
        (NULL, NULL)
    ) AS v (a, b)
) TO STDOUT (FORMAT binary);
