COPY (VALUES (true), (false), (NULL)) TO STDOUT (FORMAT binary);
