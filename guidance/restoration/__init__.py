"""Linear inverse problems: degradation operators, their solvers, and sampling held to a measurement."""
