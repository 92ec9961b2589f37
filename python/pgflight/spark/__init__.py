"""Spark: the data source, `write_dataframe`, and `foreach_batch`."""
