"""What a model knows of users: classes of what they opened before."""
