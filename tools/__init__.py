"""What keeps the house: the list of recipes and its tables, regression, copies, clusters."""
