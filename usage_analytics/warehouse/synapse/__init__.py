"""The warehouse of production: an Azure Synapse dedicated SQL pool."""
