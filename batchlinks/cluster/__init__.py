"""The calls of a run, made by the workers of a Dask cluster. The only package that knows Dask."""
