COPY (
    SELECT a::float4, b::float8
    FROM (VALUES
        ('0', '0'),
        ('-0', '-0'),
        ('1.5', '-1.5'),
        ('1e-45', '5e-324'),
        ('3.4028235e38', '1.7976931348623157e308'),
        ('NaN', 'NaN'),
        ('Infinity', '-Infinity'),
        (NULL, NULL)
    ) AS v (a, b)
) TO STDOUT (FORMAT binary);
