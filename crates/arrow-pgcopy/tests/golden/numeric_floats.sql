COPY (
    VALUES
        ('0'::numeric), ('0.1'), ('-1.5'), ('123456.789'), ('0.00000015'),
        ('100000000000000000000'), ('0.30000000000000004'),
        ('NaN'), ('Infinity'), ('-Infinity'), (NULL)
) TO STDOUT (FORMAT binary);
