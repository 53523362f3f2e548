"""What a preload is worth and costs, which ones fit a budget, and what their price is as the back end is loaded."""
