BEGIN;
CREATE EXTENSION hstore;
COPY (
    SELECT a::hstore
    FROM (VALUES ('a=>1, b=>NULL, "été"=>""'), (''), ('a=>"x y", b=>"2", "été"=>NULL'), (NULL)) AS v (a)
) TO STDOUT (FORMAT binary);
ROLLBACK;
