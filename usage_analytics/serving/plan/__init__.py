"""What a preload plan is made of: filled from the model, kept in one file, answered from where it lies."""
