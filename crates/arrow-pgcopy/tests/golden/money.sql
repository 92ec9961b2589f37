SET lc_monetary = 'C';
COPY (
    SELECT a::numeric::money, b::numeric::money
    FROM (VALUES
        ('0', '0'), ('12.34', '7'), ('-0.01', '-7'), ('92233720368547758.07', '92233720368547758'),
        ('-92233720368547758.08', '-92233720368547758'), (NULL, NULL)
    ) AS v (a, b)
) TO STDOUT (FORMAT binary);
