"""What keeps the house: the list of recipes and the tables of published results."""
