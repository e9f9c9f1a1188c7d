"""Single cases: comparing, grouping and reporting on files."""
