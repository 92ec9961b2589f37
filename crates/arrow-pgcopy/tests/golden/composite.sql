BEGIN;
CREATE TYPE pg_temp.my_composite AS (id int4, gone text, name varchar(5), amount numeric(10,2));
ALTER TYPE pg_temp.my_composite DROP ATTRIBUTE gone;
COPY (
    SELECT a::pg_temp.my_composite
    FROM (VALUES ('(1,été,1.50)'), ('(,"",)'), ('(,,)'), (NULL)) AS v (a)
) TO STDOUT (FORMAT binary);
ROLLBACK;
