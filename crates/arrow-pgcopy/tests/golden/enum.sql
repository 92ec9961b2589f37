BEGIN;
CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'Happy');
COPY (
    SELECT a::pg_temp.mood FROM (VALUES ('ok'), ('sad'), (NULL), ('Happy'), ('ok')) AS v (a)
) TO STDOUT (FORMAT binary);
ROLLBACK;
