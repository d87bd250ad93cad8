"""HTML pages made of registered figures and tables."""
