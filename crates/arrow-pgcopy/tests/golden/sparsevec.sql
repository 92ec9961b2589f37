-- needs the extension vector
BEGIN;
CREATE EXTENSION vector;
COPY (
    SELECT a::sparsevec(4)
    FROM (VALUES ('{1:1.5,4:-2}/4'), ('{}/4'), (NULL), ('{2:1e-45}/4')) AS v (a)
) TO STDOUT (FORMAT binary);
ROLLBACK;
