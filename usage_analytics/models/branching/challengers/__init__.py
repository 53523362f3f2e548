"""Models that must beat the counts before they replace them: a recurrent network, and nearest user sessions."""
