-- needs the extension vector
BEGIN;
CREATE EXTENSION vector;
COPY (
    SELECT a::vector(3), b::halfvec(2)
    FROM (VALUES ('[1,-2.5,0]', '[0.5,-65504]'), ('[3.4e38,1e-45,0.1]', '[0,1]'), (NULL, NULL)) AS v (a, b)
) TO STDOUT (FORMAT binary);
ROLLBACK;
